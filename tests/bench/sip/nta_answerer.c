/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * The least that can answer a call with sofia-sip's nta as sip-agent answers it on the wire: 100 and then 200 with a fixed description
 * to every INVITE, a dialog for each, 200 to its BYE. No checks, no record on disk, no bus, no timers of its own: what
 * sip-agent is measured beside.
 *
 *   nta_answerer ADDRESS PORT
 */
#include <sofia-sip/nta.h>
#include <sofia-sip/nta_stateless.h>
#include <sofia-sip/nta_tport.h>
#include <sofia-sip/sip.h>
#include <sofia-sip/sip_header.h>
#include <sofia-sip/sip_status.h>
#include <sofia-sip/sip_tag.h>
#include <sofia-sip/su_wait.h>
#include <stdio.h>
#include <stdlib.h>

struct answerer {
	nta_agent_t *agent;
	char contact[128], description[512];
};

static int on_request(nta_leg_magic_t *magic, nta_leg_t *leg, nta_incoming_t *request,
                      const sip_t *sip)
{
	(void)magic;
	(void)request;
	if (sip->sip_request->rq_method == sip_method_bye)
		nta_leg_destroy(leg);
	return 200;
}

/* The INVITE's transaction ends with its ACK. */
static int on_ack(nta_incoming_magic_t *magic, nta_incoming_t *request, const sip_t *sip)
{
	(void)magic;
	(void)sip;
	nta_incoming_destroy(request);
	return 0;
}

static int on_invite(nta_leg_magic_t *magic, nta_leg_t *leg, nta_incoming_t *request,
                     const sip_t *sip)
{
	struct answerer *answerer = (struct answerer *)magic;

	if (sip->sip_request->rq_method != sip_method_invite)
		return 481;
	leg = nta_leg_tcreate(answerer->agent, on_request, NULL, SIPTAG_CALL_ID(sip->sip_call_id),
	                      SIPTAG_FROM(sip->sip_to), SIPTAG_TO(sip->sip_from),
	                      NTATAG_REMOTE_CSEQ(sip->sip_cseq->cs_seq), TAG_END());
	nta_leg_server_route(leg, sip->sip_record_route, sip->sip_contact);
	nta_incoming_tag(request, nta_leg_tag(leg, NULL));
	nta_incoming_bind(request, on_ack, (nta_incoming_magic_t *)magic);
	nta_incoming_treply(request, SIP_100_TRYING, TAG_END());
	nta_incoming_treply(request, SIP_200_OK, SIPTAG_CONTACT_STR(answerer->contact),
	                    SIPTAG_ALLOW_STR("INVITE,ACK,CANCEL,BYE,UPDATE,PRACK,OPTIONS"),
	                    SIPTAG_SUPPORTED_STR("timer"), SIPTAG_REQUIRE_STR("timer"),
	                    SIPTAG_SESSION_EXPIRES_STR("300;refresher=uas"),
	                    SIPTAG_CONTENT_TYPE_STR("application/sdp"),
	                    SIPTAG_PAYLOAD_STR(answerer->description), TAG_END());
	return 0;
}

int main(int argc, char **argv)
{
	struct answerer answerer;
	char url[64];
	su_root_t *root;

	if (argc != 3) {
		fprintf(stderr, "usage: nta_answerer ADDRESS PORT\n");
		return EXIT_FAILURE;
	}
	snprintf(url, sizeof(url), "sip:%s:%s;transport=udp", argv[1], argv[2]);
	snprintf(answerer.contact, sizeof(answerer.contact), "<sip:%s:%s>", argv[1], argv[2]);
	snprintf(answerer.description, sizeof(answerer.description),
	         "v=0\r\no=- 1 1 IN IP4 %1$s\r\ns=-\r\nc=IN IP4 %1$s\r\nt=0 0\r\n"
	         "m=application 50001 udp ike-esp-udpencap\r\nc=IN IP4 %1$s\r\nb=AS:512\r\n"
	         "a=ike-setup:passive\r\n",
	         argv[1]);
	su_init();
	root = su_root_create(NULL);
	answerer.agent = nta_agent_create(root, URL_STRING_MAKE(url), NULL, NULL, NTATAG_UA(1),
	                                  TAG_END());
	if (!answerer.agent ||
	    !nta_leg_tcreate(answerer.agent, on_invite, (nta_leg_magic_t *)&answerer,
	                     NTATAG_NO_DIALOG(1), TAG_END())) {
		fprintf(stderr, "nta_answerer: cannot listen at %s\n", url);
		return EXIT_FAILURE;
	}
	su_root_run(root);
	return EXIT_SUCCESS;
}
