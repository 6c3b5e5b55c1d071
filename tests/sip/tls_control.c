/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The control of the test of TLS connections: a user agent of sofia-sip that listens on TLS as the library does it by itself,
 * without vpnsip's mending. Arguments: address, directory with agent.pem and cafile.pem.
 */
#include <stdio.h>

#define NTA_AGENT_MAGIC_T void
#include <sofia-sip/nta.h>
#include <sofia-sip/nta_tag.h>
#include <sofia-sip/su_wait.h>
#include <sofia-sip/tport_tag.h>

static int receive(void *context, nta_agent_t *agent, msg_t *message, sip_t *sip)
{
	(void)context;
	(void)sip;
	nta_msg_discard(agent, message);
	return 0;
}

int main(int argc, char **argv)
{
	char url[128];

	if (argc != 3)
		return 2;
	su_init();
	su_root_t *root = su_root_create(NULL);
	snprintf(url, sizeof(url), "sips:%s:5061;transport=tls", argv[1]);
	nta_agent_t *agent = nta_agent_create(root, (url_string_t *)url, receive, NULL,
	                                      TPTAG_CERTIFICATE(argv[2]),
	                                      TPTAG_TLS_VERIFY_POLICY(TPTLS_VERIFY_IN), TAG_END());
	if (!agent)
		return 1;
	puts("started");
	fflush(stdout);
	su_root_run(root);
	return 0;
}
