/* SPDX-License-Identifier: GPL-3.0-or-later */
/* show crypto ikev2 sa, session [detail]: the IKE_SAs, and with the second what stands on them. */
#include <string.h>

#include "services/cli/show_crypto.h"

json_t *show_crypto_ikev2_sa_model(const struct show_input *input)
{
	return crypto_sessions_model(input);
}

json_t *show_crypto_ikev2_session_model(const struct show_input *input)
{
	return crypto_sessions_model(input);
}

static const char *or_none(const char *text)
{
	return *text ? text : "None";
}

static void print_algorithms(FILE *stream, const json_t *sa)
{
	const json_t *suite = json_object_get(sa, "suite");

	fprintf(stream, "      Encr: %s", text_of(suite, "encryption"));
	if (number_of(suite, "key_bits"))
		fprintf(stream, ", keysize: %lld", (long long)number_of(suite, "key_bits"));
	fprintf(stream, ", PRF: %s, Hash: %s, DH Grp:%lld, Auth sign: %s, Auth verify: %s\n",
	        or_none(text_of(suite, "prf")), or_none(text_of(suite, "integrity")),
	        (long long)number_of(suite, "group"), text_of(sa, "auth_sign"),
	        text_of(sa, "auth_verify"));
}

static void print_sa(FILE *stream, const json_t *sa, bool is_detail)
{
	const json_t *from = json_object_get(sa, "local"), *to = json_object_get(sa, "remote");
	char local[64], remote[64];

	snprintf(local, sizeof(local), "%s/%d", text_of(from, "address"),
	         (int)number_of(from, "port"));
	snprintf(remote, sizeof(remote), "%s/%d", text_of(to, "address"),
	         (int)number_of(to, "port"));
	fprintf(stream, "%-10s%-22s%-22s%-21s%s\n", "Tunnel-id", "Local", "Remote", "fvrf/ivrf",
	        "Status");
	fprintf(stream, "%-9lld %-21s %-21s %-20s %s\n", (long long)number_of(sa, "id"), local,
	        remote, "none/none", text_of(sa, "status"));
	print_algorithms(stream, sa);
	if (!is_detail)
		fprintf(stream, "      Life/Active Time: %lld/%lld sec\n",
		        (long long)number_of(sa, "lifetime_sec"),
		        (long long)number_of(sa, "active_sec"));
}

static void print_certificate(FILE *stream, const json_t *sa)
{
	const json_t *certificate = json_object_get(sa, "peer_certificate");

	if (!json_is_object(certificate))
		return;
	fprintf(stream, "      Peer certificate: %s, serial %s, issuer %s\n",
	        text_of(certificate, "subject"), text_of(certificate, "serial"),
	        text_of(certificate, "issuer"));
	fprintf(stream, "      Peer fingerprint: %s\n", text_of(certificate, "fingerprint"));
	if (*text_of(sa, "valid_until"))
		fprintf(stream, "      Certificates valid until: %s\n", text_of(sa, "valid_until"));
}

static void print_times(FILE *stream, const json_t *sa)
{
	fprintf(stream, "      Life/Remaining/Active Time: %lld/%lld/%lld sec\n",
	        (long long)number_of(sa, "lifetime_sec"), (long long)number_of(sa, "remaining_sec"),
	        (long long)number_of(sa, "active_sec"));
	if (number_of(sa, "rekey_in_sec"))
		fprintf(stream, "      Rekey in: %lld sec\n",
		        (long long)number_of(sa, "rekey_in_sec"));
	if (number_of(sa, "reauthentication_in_sec"))
		fprintf(stream, "      Reauthentication in: %lld sec\n",
		        (long long)number_of(sa, "reauthentication_in_sec"));
}

static void print_detail(FILE *stream, const json_t *session, const json_t *sa)
{
	bool is_nat_local = flag_of(sa, "is_nat_local"),
	     is_nat_remote = flag_of(sa, "is_nat_remote");

	print_times(stream, sa);
	fprintf(stream, "      Status Description: Negotiation done\n");
	fprintf(stream, "      Local id: %-22s Remote id: %s\n", text_of(sa, "local_id"),
	        text_of(sa, "remote_id"));
	fprintf(stream, "      Rekeys: %lld, of child SAs: %lld, reauthentications: %lld\n",
	        (long long)number_of(sa, "rekeys"), (long long)number_of(sa, "child_rekeys"),
	        (long long)number_of(sa, "reauthentications"));
	fprintf(stream, "      DPD configured for %lld seconds, retry %lld\n",
	        (long long)number_of(sa, "dpd_interval_sec"),
	        (long long)number_of(sa, "dpd_retry_sec"));
	if (number_of(sa, "nat_keepalive_sec"))
		fprintf(stream, "      NAT keepalives each %lld seconds\n",
		        (long long)number_of(sa, "nat_keepalive_sec"));
	fprintf(stream, "      Fragmentation %s\n",
	        flag_of(sa, "has_fragmentation") ? "negotiated" : "not negotiated");
	fprintf(stream, "      NAT-T is %sdetected%s%s\n",
	        is_nat_local || is_nat_remote ? "" : "not ", is_nat_local ? " inside" : "",
	        is_nat_remote ? " outside" : "");
	print_certificate(stream, sa);
	fprintf(stream, "      Disconnect Revoked Peer: %s\n",
	        flag_of(session, "disconnects_revoked_peers") ? "Enabled" : "Disabled");
}

static void print_selectors(FILE *stream, const json_t *child, const char *side)
{
	const json_t *selector;
	char key[32], range[120];
	size_t index;

	snprintf(key, sizeof(key), "%s_selectors", side);
	json_array_foreach (json_object_get(child, key), index, selector)
		fprintf(stream, "          %s selector %s\n", side,
		        selector_as_range(json_string_value(selector), range));
}

static void print_child(FILE *stream, const json_t *child, bool is_detail)
{
	const json_t *suite = json_object_get(child, "suite");

	fprintf(stream, "Child sa:\n");
	print_selectors(stream, child, "local");
	print_selectors(stream, child, "remote");
	fprintf(stream, "          ESP spi in/out: %s/%s\n", text_of(child, "inbound_spi"),
	        text_of(child, "outbound_spi"));
	if (!is_detail)
		return;
	fprintf(stream, "          AH spi in/out: 0x0/0x0\n          CPI in/out: 0x0/0x0\n");
	fprintf(stream, "          Encr: %s, keysize: %lld, esp_hmac: %s\n",
	        text_of(suite, "encryption"), (long long)number_of(suite, "key_bits"),
	        or_none(text_of(suite, "integrity")));
	fprintf(stream, "          ah_hmac: None, comp: IPCOMP_NONE, mode tunnel\n");
}

static void print_session(FILE *stream, const json_t *session, bool is_detail)
{
	const json_t *sa = json_object_get(session, "ike_sa"),
		     *child = json_object_get(session, "child");
	bool has_child = json_is_object(child);

	fprintf(stream, "\nSession-id:%lld, Status:%s, IKE count:1, CHILD count:%d\n\n",
	        (long long)number_of(session, "session_id"), text_of(session, "status"), has_child);
	print_sa(stream, sa, is_detail);
	fprintf(stream, "      CE id: %lld, Session-id: %lld\n",
	        (long long)number_of(session, "if_id"),
	        (long long)number_of(session, "session_id"));
	fprintf(stream, "      Local spi: %s       Remote spi: %s\n", text_of(sa, "local_spi"),
	        text_of(sa, "remote_spi"));
	if (is_detail)
		print_detail(stream, session, sa);
	if (has_child)
		print_child(stream, child, is_detail);
}

static bool is_ipv6(const json_t *session)
{
	const json_t *sa = json_object_get(session, "ike_sa");

	return strchr(text_of(json_object_get(sa, "remote"), "address"), ':') != NULL;
}

/* Those with an IKE_SA, by its address family, as the routers list them. */
static void print_families(FILE *stream, const json_t *model, const char *what, bool is_whole)
{
	bool is_detail = flag_of(model, "is_detail");
	const json_t *session;
	size_t index;

	for (int family = 4; family <= 6; family += 2) {
		fprintf(stream, "%s IPv%d Crypto IKEv2 %s\n", family == 6 ? "\n" : "", family,
		        what);
		json_array_foreach (json_object_get(model, "sessions"), index, session) {
			if (!json_is_object(json_object_get(session, "ike_sa")) ||
			    is_ipv6(session) != (family == 6))
				continue;
			if (is_whole) {
				print_session(stream, session, is_detail);
				continue;
			}
			fputc('\n', stream);
			print_sa(stream, json_object_get(session, "ike_sa"), is_detail);
		}
	}
}

void show_crypto_ikev2_sa_text(FILE *stream, const json_t *model)
{
	print_families(stream, model, "SA", false);
}

void show_crypto_ikev2_session_text(FILE *stream, const json_t *model)
{
	print_families(stream, model, "Session", true);
}
