/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Whom a certificate of SIP over TLS names (RFC 5922 section 7), and which cipher suites are used. Pure. */
#ifndef VPNSIP_SIP_TLS_SUBJECT_H
#define VPNSIP_SIP_TLS_SUBJECT_H

#include <openssl/x509.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/socket.h>

/** For TLS 1.2 and below; the suites of TLS 1.3 all have forward secrecy and authenticated encryption. */
#define TLS_CIPHERS_STRICT "ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:!aNULL:!PSK"
#define TLS_CIPHERS                                                      \
	"ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM:DHE+CHACHA20:ECDHE+AES:" \
	"DHE+AES:RSA+AES:!aNULL:!eNULL:!PSK:!SRP:!MD5:!3DES:!AESCCM8"

/**
 * Whether the certificate names this SIP domain: a subjectAltName of kind DNS, or of kind URI "sip:NAME"; the common name only
 * when there is no such subjectAltName at all. No wildcards.
 */
bool tls_subject_names(X509 *certificate, const char *name);

/** Whether it names this address: a subjectAltName of kind IP address. The port is not looked at. */
bool tls_subject_names_address(X509 *certificate, const struct sockaddr_storage *address);

/** Writes for an operator whom the certificate names: "sip.example.com, 192.0.2.5"; returns `text`. */
const char *tls_subject_print(X509 *certificate, char *text, size_t size);

#endif
