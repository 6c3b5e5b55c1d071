/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Inbound packets, idle, one-way and dead, keepalives, lifetimes and limits, in virtual time. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <openssl/evp.h>

#include "tests/unit/tunnel_fixture.h"

/* The tunnel under test and the peer's side of its inbound SA. */
static struct tunnel tunnel;
static struct tunnel peer;

static int set_up(void **state)
{
	const struct sa_limits none = {0};

	(void)state;
	fixture_init(&tunnel);
	fixture_init(&peer);
	tunnel_set_peer(&tunnel, ATTEMPT, &peer_address, START);
	install_sas(&tunnel, START);
	tunnel_open(&tunnel, ATTEMPT, 1000, START);
	install_sa_with(&peer, false, IN_SPI, &none, START);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	tunnel_destroy(&tunnel);
	tunnel_destroy(&peer);
	return 0;
}

static bool receive_from_peer(const char *destination, uint64_t now)
{
	uint8_t room[2048], *packet, *inner;
	size_t size, inner_size;

	packet = seal_from_peer(peer.sas.outbound[0], room, PACKET_SIZE, destination, &size);
	return tunnel_unseal(&tunnel, packet, size, now, &inner, &inner_size);
}

static bool send_payload(uint64_t now)
{
	uint8_t room[2048], *packet;
	size_t size;

	build_packet(room + ESP_HEADROOM, PACKET_SIZE, "10.2.0.9", 1);
	if (tunnel_take(&tunnel, room + ESP_HEADROOM, PACKET_SIZE, now) != TUNNEL_SEND)
		return false;
	return tunnel_seal(&tunnel, room + ESP_HEADROOM, PACKET_SIZE, now, &packet, &size);
}

static void is_idle_without_payload(void **state)
{
	(void)state;
	tunnel_advance(&tunnel, START + IDLE - 1);
	assert_false(tunnel.is_idle);
	assert_true(tunnel_next_deadline_usec(&tunnel) <= START + IDLE);
	assert_true(receive_from_peer("10.1.0.5", START + 30 * SECOND));
	tunnel_advance(&tunnel, START + IDLE);
	assert_false(tunnel.is_idle);
	assert_true(send_payload(START + 60 * SECOND));
	tunnel_advance(&tunnel, START + 60 * SECOND + IDLE - 1);
	assert_false(tunnel.is_idle);
	tunnel_advance(&tunnel, START + 60 * SECOND + IDLE);
	assert_true(tunnel.is_idle);
	assert_true(send_payload(START + 61 * SECOND + IDLE));
	tunnel_advance(&tunnel, START + 61 * SECOND + IDLE);
	assert_false(tunnel.is_idle);
}

/* Routing hellos and IKE keep no call. */
static void what_is_no_payload_does_not_count(void **state)
{
	uint64_t now = START + 100 * SECOND;

	(void)state;
	assert_true(receive_from_peer("224.0.0.5", now));
	assert_int_equal(take_multicast(&tunnel, now), TUNNEL_SEND);
	tunnel_note_received(&tunnel, now);
	tunnel_note_sent(&tunnel, now);
	tunnel_advance(&tunnel, START + IDLE);
	assert_true(tunnel.is_idle);
}

static void rests_without_conditions(void **state)
{
	(void)state;
	tunnel_clear_peer(&tunnel, ATTEMPT, START);
	tunnel_advance(&tunnel, START + 100 * IDLE);
	assert_false(tunnel.is_idle || tunnel.is_dead || tunnel.is_one_way);
	assert_int_equal(tunnel_next_deadline_usec(&tunnel), UINT64_MAX);
}

static void sees_one_way_traffic(void **state)
{
	uint64_t now = START;

	(void)state;
	for (; now < START + 2 * IDLE; now += 10 * SECOND) {
		assert_true(send_payload(now));
		tunnel_advance(&tunnel, now);
		assert_false(tunnel.is_one_way);
	}
	assert_true(send_payload(now));
	tunnel_advance(&tunnel, now);
	assert_true(tunnel.is_one_way);
	assert_true(receive_from_peer("10.1.0.5", now));
	tunnel_advance(&tunnel, now);
	assert_false(tunnel.is_one_way);
}

static void sees_a_dead_peer(void **state)
{
	(void)state;
	assert_true(send_payload(START + 30 * SECOND)); /* our own packets prove nothing */
	tunnel_advance(&tunnel, START + DEAD - 1);
	assert_false(tunnel.is_dead);
	tunnel_advance(&tunnel, START + DEAD);
	assert_true(tunnel.is_dead);
	tunnel_note_received(&tunnel, START + DEAD);
	tunnel_advance(&tunnel, START + DEAD);
	assert_false(tunnel.is_dead);
	/* Nor does a packet that anybody could have sent. */
	{
		uint8_t forged[100] = {0, 0, 0x11, 0x11, 0, 0, 0, 9}, *inner;
		size_t inner_size;

		assert_false(tunnel_unseal(&tunnel, forged, sizeof(forged), START + 2 * DEAD - 1,
		                           &inner, &inner_size));
		assert_int_equal(tunnel.drops[DROP_INTEGRITY], 1);
	}
	tunnel_advance(&tunnel, START + 2 * DEAD);
	assert_true(tunnel.is_dead);
}

static void sends_keepalives_only_in_silence(void **state)
{
	(void)state;
	assert_false(tunnel_needs_keepalive(&tunnel, START + KEEPALIVE - 1));
	assert_true(tunnel_needs_keepalive(&tunnel, START + KEEPALIVE));
	assert_true(send_payload(START + KEEPALIVE));
	assert_false(tunnel_needs_keepalive(&tunnel, START + 2 * KEEPALIVE - 1));
	assert_true(tunnel_needs_keepalive(&tunnel, START + 2 * KEEPALIVE));
	tunnel_clear_peer(&tunnel, ATTEMPT, START);
	assert_false(tunnel_needs_keepalive(&tunnel, START + 9 * KEEPALIVE));
}

static void counts_drops_by_reason(void **state)
{
	uint8_t room[2048], copy[2048], *packet, *inner;
	size_t size, inner_size;

	(void)state;
	packet = seal_from_peer(peer.sas.outbound[0], room, PACKET_SIZE, "10.1.0.5", &size);
	memcpy(copy, packet, size);
	assert_true(tunnel_unseal(&tunnel, packet, size, START, &inner, &inner_size));
	assert_int_equal(inner_size, PACKET_SIZE);
	assert_false(tunnel_unseal(&tunnel, copy, size, START, &inner, &inner_size));
	assert_int_equal(tunnel.drops[DROP_REPLAY], 1);
	assert_int_equal(tunnel.sas.inbound[0]->replay_drops, 1);
	copy[0] = 1;
	assert_false(tunnel_unseal(&tunnel, copy, size, START, &inner, &inner_size));
	assert_int_equal(tunnel.drops[DROP_UNKNOWN_SPI], 1);
	assert_false(tunnel_unseal(&tunnel, copy, 7, START, &inner, &inner_size));
	assert_int_equal(tunnel.drops[DROP_TOO_SHORT], 1);
	tunnel_clear_peer(&tunnel, ATTEMPT, START);
	assert_false(tunnel_unseal(&tunnel, copy, size, START, &inner, &inner_size));
	assert_int_equal(tunnel.drops[DROP_NO_PEER], 1);
	assert_int_equal(tunnel.in.packets, 1);
	assert_int_equal(tunnel.in.bytes, PACKET_SIZE);
}

/* What only the holder of the key can send: any text, trailer included, sealed without esp.c. Returns the packet's size. */
static size_t seal_text(uint64_t sequence, const uint8_t *text, int text_size, uint8_t *packet)
{
	static const uint8_t key[16] = {1, 2, 3, 4, 5};
	uint8_t nonce[12] = {0}, associated[12] = {0, 0, IN_SPI >> 8, IN_SPI & 0xff};
	EVP_CIPHER_CTX *cipher = EVP_CIPHER_CTX_new();
	int done;

	nonce[11] = associated[11] = (uint8_t)sequence;
	memcpy(packet, associated, 4);
	memcpy(packet + 4, associated + 8, 4);
	memcpy(packet + 8, nonce + 4, 8);
	assert_true(EVP_EncryptInit_ex(cipher, EVP_aes_128_gcm(), NULL, key, nonce));
	assert_true(EVP_EncryptUpdate(cipher, NULL, &done, associated, sizeof(associated)));
	assert_true(EVP_EncryptUpdate(cipher, packet + 16, &done, text, text_size));
	assert_true(EVP_EncryptFinal_ex(cipher, packet + 16 + done, &done));
	assert_true(
		EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, 16, packet + 16 + text_size));
	EVP_CIPHER_CTX_free(cipher);
	return 16 + (size_t)text_size + 16;
}

/* An authentic packet of this plain text; `tail` is the padding, its length and the next header. */
static bool receive_text(uint64_t sequence, size_t inner_size, const uint8_t tail[4], size_t *size)
{
	uint8_t text[256], packet[320], *inner;

	build_packet(text, inner_size, "10.1.0.5", 7);
	memcpy(text + inner_size, tail, 4);
	return tunnel_unseal(&tunnel, packet,
	                     seal_text(sequence, text, (int)inner_size + 4, packet), START, &inner,
	                     size);
}

static void looks_into_authentic_packets(void **state)
{
	static const uint8_t good[4] = {1, 2, 2, ESP_NEXT_IPV4};
	static const uint8_t wrong_padding[4] = {2, 1, 2, ESP_NEXT_IPV4};
	static const uint8_t too_much_padding[4] = {1, 2, 200, ESP_NEXT_IPV4};
	static const uint8_t dummy[4] = {1, 2, 2, ESP_NEXT_DUMMY};
	static const uint8_t ipv6[4] = {1, 2, 2, 41};
	size_t size;

	(void)state;
	assert_true(receive_text(1, 100, good, &size));
	assert_int_equal(size, 100);
	assert_false(receive_text(2, 100, wrong_padding, &size));
	assert_false(receive_text(3, 100, too_much_padding, &size));
	assert_int_equal(tunnel.drops[DROP_PADDING], 2);
	assert_false(receive_text(4, 100, dummy, &size));
	assert_int_equal(tunnel.drops[DROP_DUMMY], 1);
	assert_false(receive_text(5, 100, ipv6, &size));
	assert_int_equal(tunnel.drops[DROP_NOT_IPV4], 1);
	assert_int_equal(tunnel.in.packets, 1);
	/* A dummy is no payload, but uses up its SA. */
	assert_int_equal(tunnel.sas.inbound[0]->packets, 2);
	assert_int_equal(tunnel.sas.inbound[0]->bytes, 100);
	/* Each of them was authentic: its number is used up. */
	assert_false(receive_text(5, 100, good, &size));
	assert_int_equal(tunnel.drops[DROP_REPLAY], 1);
}

/* Traffic-flow padding behind the packet is cut off; a packet that is shorter than it says is none. */
static void believes_the_inner_length_if_it_fits(void **state)
{
	static const uint8_t tail[4] = {1, 2, 2, ESP_NEXT_IPV4};
	static const uint16_t claimed[] = {60, 101, 19, 0};
	static const size_t taken[] = {60, 0, 0, 0};

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		uint8_t text[256], packet[320], *inner;
		size_t size = 0;
		bool is_taken;

		build_packet(text, 100, "10.1.0.5", 7);
		text[2] = (uint8_t)(claimed[i] >> 8);
		text[3] = (uint8_t)claimed[i];
		memcpy(text + 100, tail, 4);
		is_taken = tunnel_unseal(&tunnel, packet, seal_text(i + 1, text, 104, packet),
		                         START, &inner, &size);
		assert_int_equal(is_taken, taken[i] > 0);
		if (is_taken)
			assert_int_equal(size, taken[i]);
	}
	assert_int_equal(tunnel.drops[DROP_NOT_IPV4], 3);
}

/* Garbage of every size, with and without a known SPI, harms nobody and changes no state. */
static void survives_garbage(void **state)
{
	static const uint8_t header[8] = {0, 0, 0x11, 0x11, 0, 0, 0, 1};
	unsigned random = 1;

	(void)state;
	for (unsigned n = 0; n < 20000; n++) {
		uint8_t packet[200], *inner;
		size_t size = n % sizeof(packet), inner_size;

		for (size_t i = 0; i < size; i++) {
			random = random * 1103515245 + 12345;
			packet[i] = (uint8_t)(random >> 16);
		}
		if (size >= 8 && n % 2)
			memcpy(packet, header, sizeof(header));
		assert_false(tunnel_unseal(&tunnel, packet, size, START, &inner, &inner_size));
		classify_packet(&tunnel.classify, packet, size);
	}
	assert_int_equal(tunnel.in.packets, 0);
	assert_int_equal(tunnel.last_received_usec, 0);
	assert_true(receive_from_peer("10.1.0.5", START));
}

/* Inbound passes as soon as the SA is there: the peer may have opened first. */
static void receives_before_it_is_open(void **state)
{
	(void)state;
	tunnel_set_peer(&tunnel, ATTEMPT + 1, &peer_address, START);
	install_sas(&tunnel, START);
	assert_int_equal(tunnel.state, TUNNEL_PEERED);
	assert_true(receive_from_peer("10.1.0.5", START));
}

static void reports_limits_once(void **state)
{
	const struct sa_limits limits = {
		.soft_packets = 2, .hard_packets = 4, .soft_bytes = 0, .hard_bytes = 0};
	const struct sa *sa;
	bool is_hard;

	(void)state;
	tunnel_remove_sa(&tunnel, false, OUT_SPI, START);
	install_sa_with(&tunnel, false, 0x3333, &limits, START);
	assert_true(send_payload(START));
	assert_null(tunnel_next_sa_report(&tunnel, &is_hard));
	assert_true(send_payload(START));
	sa = tunnel_next_sa_report(&tunnel, &is_hard);
	assert_non_null(sa);
	assert_int_equal(sa->spi, 0x3333);
	assert_false(is_hard);
	assert_null(tunnel_next_sa_report(&tunnel, &is_hard));
	assert_true(send_payload(START));
	assert_true(send_payload(START));
	/* The fifth is not sent: it waits for a new SA. */
	assert_int_equal(take_payload(&tunnel, 1, START), TUNNEL_HELD);
	sa = tunnel_next_sa_report(&tunnel, &is_hard);
	assert_non_null(sa);
	assert_true(is_hard);
	assert_null(tunnel_next_sa_report(&tunnel, &is_hard));
	tunnel_advance(&tunnel, START);
	assert_int_equal(tunnel.sas.outbound_count, 0);
}

static void enforces_byte_limits_inbound(void **state)
{
	const struct sa_limits limits = {.hard_bytes = 2 * PACKET_SIZE};

	(void)state;
	tunnel_remove_sa(&tunnel, true, IN_SPI, START);
	install_sa_with(&tunnel, true, IN_SPI, &limits, START);
	assert_true(receive_from_peer("10.1.0.5", START));
	assert_true(receive_from_peer("10.1.0.5", START));
	assert_false(receive_from_peer("10.1.0.5", START));
	assert_int_equal(tunnel.drops[DROP_LIFETIME], 1);
}

static void ends_sas_by_time(void **state)
{
	const struct sa_limits limits = {.lifetime_usec = 60 * SECOND};
	bool is_hard = false;

	(void)state;
	tunnel_remove_sa(&tunnel, false, OUT_SPI, START);
	install_sa_with(&tunnel, false, 0x3333, &limits, START);
	assert_true(send_payload(START + 60 * SECOND - 1));
	assert_int_equal(take_payload(&tunnel, 1, START + 60 * SECOND), TUNNEL_HELD);
	tunnel_advance(&tunnel, START + 60 * SECOND);
	assert_non_null(tunnel_next_sa_report(&tunnel, &is_hard));
	assert_true(is_hard);
	tunnel_advance(&tunnel, START + 61 * SECOND);
	assert_int_equal(tunnel.sas.outbound_count, 0);
}

/* Without extended numbers the last one is 2^32 - 1, and a rekey is asked for well before. */
static void never_wraps_sequence_numbers(void **state)
{
	static const uint8_t key[20];
	const struct esp_options options = {.encryption = VPNSIP__ENCRYPTION_ALGORITHM__AES_GCM_16,
	                                    .encryption_key = key,
	                                    .encryption_key_size = sizeof(key)};
	const struct sa_terms terms = {0};
	const char *why;
	bool is_hard;

	(void)state;
	tunnel_remove_sa(&tunnel, false, OUT_SPI, START);
	assert_int_equal(tunnel_install_sa(&tunnel, 0x3333, &options, &terms, START, &why), 0);
	tunnel.sas.outbound[0]->sequence = UINT32_MAX - (1U << 28) - 1;
	assert_true(send_payload(START));
	assert_non_null(tunnel_next_sa_report(&tunnel, &is_hard));
	assert_false(is_hard);
	tunnel.sas.outbound[0]->sequence = UINT32_MAX - 1;
	assert_true(send_payload(START));
	assert_false(send_payload(START));
	assert_int_equal(tunnel.sas.outbound[0]->sequence, UINT32_MAX);
}

/* After a rekey the newest SA sends, the old one still receives; the same SPI again changes nothing. */
static void rekeys_without_loss(void **state)
{
	const struct sa_limits none = {0};

	(void)state;
	install_sa_with(&tunnel, true, 0x4444, &none, START);
	install_sa_with(&tunnel, false, 0x5555, &none, START);
	assert_int_equal(sa_find_outbound(&tunnel.sas, START)->spi, 0x5555);
	assert_true(receive_from_peer("10.1.0.5", START));
	assert_true(send_payload(START));
	install_sa_with(&tunnel, false, 0x5555, &none, START);
	assert_int_equal(tunnel.sas.outbound_count, 2);
	assert_int_equal(tunnel.sas.outbound[1]->sequence, 1);
	tunnel_remove_sa(&tunnel, false, 0x5555, START);
	assert_int_equal(sa_find_outbound(&tunnel.sas, START)->spi, OUT_SPI);
	tunnel_remove_sa(&tunnel, false, 0x9999, START);
	assert_int_equal(tunnel.sas.outbound_count, 1);
}

static void bounds_the_number_of_sas(void **state)
{
	static const uint8_t key[20];
	const struct esp_options options = {.encryption = VPNSIP__ENCRYPTION_ALGORITHM__AES_GCM_16,
	                                    .encryption_key = key,
	                                    .encryption_key_size = sizeof(key),
	                                    .is_inbound = true};
	const struct sa_terms terms = {.replay_window = 64};
	const char *why = NULL;

	(void)state;
	for (uint32_t spi = 2; spi <= SA_MAXIMUM; spi++)
		install_sa_of(&tunnel, true, 0x10000 + spi, &terms, START);
	assert_int_equal(tunnel_install_sa(&tunnel, 1, &options, &terms, START, &why), -1);
	assert_non_null(why);
}

static void averages_rates(void **state)
{
	uint64_t now = START;

	(void)state;
	tunnel_sample(&tunnel, now);
	for (unsigned second = 0; second < 300; second++) {
		for (unsigned i = 0; i < 10; i++)
			assert_true(send_payload(now));
		now += SECOND;
		assert_true(tunnel_sample(&tunnel, now));
	}
	assert_in_range((uint64_t)tunnel.out.packet_rate, 9, 10);
	assert_in_range((uint64_t)tunnel.out.bit_rate, 79900, 80000);
	assert_int_equal((uint64_t)tunnel.in.bit_rate, 0);
	assert_false(tunnel_sample(&tunnel, now + SECOND));
}

static struct sockaddr_storage elsewhere(uint16_t port)
{
	struct sockaddr_storage address = peer_address;

	((struct sockaddr_in *)&address)->sin_port = htons(port);
	return address;
}

static bool sends_to(const struct sockaddr_storage *address)
{
	return memcmp(&tunnel.remote, address, sizeof(*address)) == 0;
}

/* A relay's port changed: the next authentic packet takes ours along. Forged, old and replayed ones do not. */
static void follows_an_authentic_peer(void **state)
{
	const struct sockaddr_storage new_port = elsewhere(50777), forger = elsewhere(666);
	uint8_t room[2048], again[2048], *packet, *inner;
	size_t size, inner_size;

	(void)state;
	assert_true(receive_from_peer("10.1.0.5", START));
	assert_false(tunnel_hear_from(&tunnel, &peer_address));
	packet = seal_from_peer(peer.sas.outbound[0], room, PACKET_SIZE, "10.1.0.5", &size);
	memcpy(again, packet, size);
	packet[size - 1] ^= 1;
	assert_false(tunnel_unseal(&tunnel, packet, size, START, &inner, &inner_size));
	assert_false(tunnel_hear_from(&tunnel, &forger));
	assert_true(sends_to(&peer_address));
	/* The packet as the peer made it, but late: a newer one was there before. */
	assert_true(receive_from_peer("10.1.0.5", START));
	assert_false(tunnel_hear_from(&tunnel, &peer_address));
	memcpy(room, again, size);
	assert_true(tunnel_unseal(&tunnel, room, size, START, &inner, &inner_size));
	assert_false(tunnel_hear_from(&tunnel, &forger));
	memcpy(room, again, size);
	assert_false(tunnel_unseal(&tunnel, room, size, START, &inner, &inner_size));
	assert_false(tunnel_hear_from(&tunnel, &forger));
	assert_true(sends_to(&peer_address));
	assert_true(receive_from_peer("10.1.0.5", START));
	assert_true(tunnel_hear_from(&tunnel, &new_port));
	assert_true(sends_to(&new_port));
}

/* A carrier's relay that sends from another port than it listens on: SDP says where it listens. */
static void does_not_follow_a_lopsided_relay(void **state)
{
	const struct sockaddr_storage first = elsewhere(50777), second = elsewhere(50778);

	(void)state;
	assert_true(receive_from_peer("10.1.0.5", START));
	assert_false(tunnel_hear_from(&tunnel, &first));
	assert_true(receive_from_peer("10.1.0.5", START));
	assert_false(tunnel_hear_from(&tunnel, &second));
	assert_true(sends_to(&peer_address));
	/* What IKE proves about another address than ours concerns no ESP either. */
	assert_false(tunnel_follow_peer(&tunnel, &first, &second));
	assert_true(tunnel_follow_peer(&tunnel, &peer_address, &second));
	assert_true(sends_to(&second));
}

int main(void)
{
#define TEST(function) cmocka_unit_test_setup_teardown(function, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(is_idle_without_payload),
		TEST(follows_an_authentic_peer),
		TEST(does_not_follow_a_lopsided_relay),
		TEST(what_is_no_payload_does_not_count),
		TEST(rests_without_conditions),
		TEST(sees_one_way_traffic),
		TEST(sees_a_dead_peer),
		TEST(sends_keepalives_only_in_silence),
		TEST(counts_drops_by_reason),
		TEST(looks_into_authentic_packets),
		TEST(believes_the_inner_length_if_it_fits),
		TEST(survives_garbage),
		TEST(receives_before_it_is_open),
		TEST(reports_limits_once),
		TEST(enforces_byte_limits_inbound),
		TEST(ends_sas_by_time),
		TEST(never_wraps_sequence_numbers),
		TEST(rekeys_without_loss),
		TEST(bounds_the_number_of_sas),
		TEST(averages_rates),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
