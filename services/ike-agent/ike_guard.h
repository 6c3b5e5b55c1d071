/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Why somebody's IKE was turned away, by class: as the log and `show crypto call admission statistics` name it. */
#ifndef VPNSIP_IKE_GUARD_H
#define VPNSIP_IKE_GUARD_H

enum ike_guard_class {
	IKE_GUARD_NONE = 0,    /* no matter of security */
	IKE_GUARD_MALFORMED,   /* a message that no peer sends: nobody with the keys has made it */
	IKE_GUARD_NO_SESSION,  /* no call announced this IKE_SA */
	IKE_GUARD_HALF_OPEN,   /* too many are half-open */
	IKE_GUARD_COOKIE,      /* asked for a cookie first */
	IKE_GUARD_NO_PROPOSAL, /* offered nothing that we take */
	IKE_GUARD_METHOD,      /* authenticates in another way than configured */
	IKE_GUARD_IDENTITY,    /* not the number of the call */
	IKE_GUARD_KEY,         /* another pre-shared key */
	IKE_GUARD_SIGNATURE,   /* not by the key of the certificate */
	IKE_GUARD_FINGERPRINT, /* not that of the call, or of the pin */
	IKE_GUARD_UNTRUSTED,   /* no chain to a root, or the certificate will not do */
	IKE_GUARD_REVOKED,
	IKE_GUARD_EXPIRED, /* or not yet valid */
	IKE_GUARD_CLASS_COUNT
};

/** "wrong-key". */
const char *ike_guard_class_name(enum ike_guard_class class);

#endif
