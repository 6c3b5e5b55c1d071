/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * A root that signs nobody: its key is thrown away. Peers that show their certificate only when asked (CERTREQ) are asked with it for
 * their self-signed one.
 */
#ifndef VPNSIP_IKE_CERTIFICATE_ANCHOR_H
#define VPNSIP_IKE_CERTIFICATE_ANCHOR_H

#include <openssl/x509.h>

/** NULL when OpenSSL fails. */
X509 *certificate_make_anchor(void);

#endif
