/* SPDX-License-Identifier: GPL-3.0-or-later */
#include "services/ike-agent/ike_guard.h"

const char *ike_guard_class_name(enum ike_guard_class class)
{
	static const char *const names[IKE_GUARD_CLASS_COUNT] = {
		[IKE_GUARD_NONE] = "none",
		[IKE_GUARD_MALFORMED] = "malformed",
		[IKE_GUARD_NO_SESSION] = "no-session",
		[IKE_GUARD_HALF_OPEN] = "half-open",
		[IKE_GUARD_COOKIE] = "cookie",
		[IKE_GUARD_NO_PROPOSAL] = "no-proposal",
		[IKE_GUARD_METHOD] = "wrong-method",
		[IKE_GUARD_IDENTITY] = "unknown-identity",
		[IKE_GUARD_KEY] = "wrong-key",
		[IKE_GUARD_SIGNATURE] = "wrong-signature",
		[IKE_GUARD_FINGERPRINT] = "wrong-fingerprint",
		[IKE_GUARD_UNTRUSTED] = "untrusted",
		[IKE_GUARD_REVOKED] = "revoked",
		[IKE_GUARD_EXPIRED] = "expired",
	};

	return names[class];
}
