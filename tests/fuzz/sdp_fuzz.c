/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Session descriptions: the corpus has the verdicts that its names tell, and whatever is changed in it, reader and checker stay
 * within their bounds (this runs under the sanitizers) and what they accept is usable.
 *
 *   sdp_fuzz FOLDER [ROUNDS [SEED]]
 *
 * A file is good-WHY.sdp, or STATUS-WHY.sdp. A failure prints round and seed: the same again shows it again.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "services/sip-agent/sdp.h"

#define MOST_FILES 128

struct text {
	char name[64];
	char octets[SDP_TEXT_SIZE];
	size_t size;
};

static struct text corpus[MOST_FILES];
static size_t corpus_count;
static uint64_t state;
static unsigned accepted, refused;

/* xorshift64: the same everywhere. */
static uint64_t next(uint64_t bound)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % bound;
}

static void fail(const char *what, const char *name, unsigned long round, uint64_t seed)
{
	fprintf(stderr, "sdp_fuzz: %s (of %s, round %lu, seed %" PRIu64 ")\n", what, name, round,
	        seed);
	exit(EXIT_FAILURE);
}

static const char *wrong_tunnel(const struct sdp_tunnel *tunnel)
{
	if (!tunnel->port || !tunnel->address.s_addr)
		return "accepted without address or port";
	if (!tunnel->bandwidth_kbit || tunnel->bandwidth_kbit > SDP_BANDWIDTH_MAXIMUM_KBIT)
		return "accepted with an impossible bandwidth";
	if (tunnel->role != SDP_ACTIVE && tunnel->role != SDP_PASSIVE &&
	    tunnel->role != SDP_ACTPASS)
		return "accepted without a role";
	if (tunnel->fingerprint_count > SDP_FINGERPRINTS_MAXIMUM)
		return "more fingerprints than there is room for";
	for (size_t i = 0; i < tunnel->fingerprint_count; i++) {
		const struct sdp_fingerprint *shown = &tunnel->fingerprints[i];

		if (!shown->size || shown->size != sdp_hash_size(shown->hash, strlen(shown->hash)))
			return "a fingerprint of a wrong size";
	}
	return NULL;
}

/* What was accepted can be answered, and the answer can be read. */
static const char *wrong_answer(const struct sdp_description *offer, size_t media_index,
                                const struct sdp_tunnel *offered)
{
	const struct sdp_origin origin = {1, 1};
	struct sdp_tunnel answer = *offered, read = {0};
	struct sdp_description description;
	struct sdp_problem problem;
	char text[SDP_TEXT_SIZE];
	size_t size;

	answer.role = offered->role == SDP_ACTIVE ? SDP_PASSIVE : SDP_ACTIVE;
	size = sdp_write(text, sizeof(text), &origin, &answer, offer, media_index);
	if (!size)
		return NULL; /* it does not fit, and that is said */
	if (!sdp_read(text, size, &description, &problem))
		return "our answer cannot be read";
	/* Only an answer to one media line is taken as such. */
	if (description.media_count != 1)
		return NULL;
	if (!sdp_check_answer(&description, offered->role, &read, &problem))
		return "our answer is not accepted";
	return read.port == answer.port && sdp_fingerprints_equal(&read, &answer)
	               ? NULL
	               : "our answer is read as another one";
}

/* The verdict: 0 = good, else the status; `wrong` tells what must not be. */
static unsigned judge(const struct text *text, const char **wrong)
{
	/* On the heap and exactly so long: what is read beyond it is seen. */
	char *octets = malloc(text->size ? text->size : 1);
	struct sdp_description description;
	struct sdp_tunnel tunnel, answer;
	struct sdp_problem problem = {0}, other = {0};
	size_t media_index = 0;
	bool is_good;

	*wrong = NULL;
	if (!octets)
		abort();
	memcpy(octets, text->octets, text->size);
	is_good = sdp_read(octets, text->size, &description, &problem);
	if (is_good) {
		for (enum sdp_role role = SDP_ACTIVE; role <= SDP_ACTPASS; role++)
			if (sdp_check_answer(&description, role, &answer, &other) && !*wrong)
				*wrong = wrong_tunnel(&answer);
		is_good = sdp_check_offer(&description, &tunnel, &media_index, &problem);
	}
	if (is_good && !*wrong)
		*wrong = media_index < description.media_count ? wrong_tunnel(&tunnel)
		                                               : "no such media line";
	if (is_good && !*wrong)
		*wrong = wrong_answer(&description, media_index, &tunnel);
	if (!is_good && problem.sip_status != 400 && problem.sip_status != 488)
		*wrong = "refused without a status";
	if (!is_good && (!problem.text || !*problem.text))
		*wrong = "refused without a reason";
	free(octets);
	return is_good ? 0 : problem.sip_status;
}

static void change_once(struct text *text)
{
	static const char *const pieces[] = {
		"\r\n",
		"\n",
		"m=application 1 udp ike-esp-udpencap\r\n",
		"b=AS:",
		"c=IN IP4 ",
		"a=psk-fingerprint:SHA-256 ",
		"\\\r\n",
		":",
		"4294967296",
		"18446744073709551616",
		"-1",
		"a=fingerprint:SHA-512 ",
		"=",
		" ",
		"a=ike-setup:",
	};
	size_t at = next(text->size + 1), room = sizeof(text->octets) - text->size, length;
	const char *piece;

	switch (next(5)) {
	case 0:
		if (at < text->size)
			text->octets[at] = (char)next(256);
		return;
	case 1: /* a piece less */
		length = next(40);
		length = length > text->size - at ? text->size - at : length;
		memmove(text->octets + at, text->octets + at + length, text->size - at - length);
		text->size -= length;
		return;
	case 2: /* a piece twice */
		length = next(200);
		length = length > text->size - at ? text->size - at : length;
		length = length > room ? room : length;
		memmove(text->octets + at + length, text->octets + at, text->size - at);
		text->size += length;
		return;
	case 3: /* of another text */
		piece = corpus[next(corpus_count)].octets;
		length = next(120);
		break;
	default:
		piece = pieces[next(sizeof(pieces) / sizeof(pieces[0]))];
		length = strlen(piece);
		break;
	}
	length = length > room ? room : length;
	memmove(text->octets + at + length, text->octets + at, text->size - at);
	memcpy(text->octets + at, piece, length);
	text->size += length;
}

static void read_corpus(const char *folder)
{
	DIR *directory = opendir(folder);
	struct dirent *entry;
	char path[512];

	while (directory && (entry = readdir(directory)) && corpus_count < MOST_FILES) {
		struct text *text = &corpus[corpus_count];
		FILE *stream;

		if (!strstr(entry->d_name, ".sdp"))
			continue;
		snprintf(text->name, sizeof(text->name), "%.63s", entry->d_name);
		snprintf(path, sizeof(path), "%s/%s", folder, entry->d_name);
		stream = fopen(path, "re");
		if (!stream)
			continue;
		text->size = fread(text->octets, 1, sizeof(text->octets), stream);
		fclose(stream);
		corpus_count++;
	}
	if (directory)
		closedir(directory);
	if (!corpus_count)
		fail("no corpus", folder, 0, 0);
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(((const struct text *)a)->name, ((const struct text *)b)->name);
}

static void check_corpus(void)
{
	const char *wrong;

	for (size_t i = 0; i < corpus_count; i++) {
		unsigned expected = (unsigned)strtoul(corpus[i].name, NULL, 10);
		unsigned verdict = judge(&corpus[i], &wrong);

		if (wrong)
			fail(wrong, corpus[i].name, 0, 0);
		if (verdict != expected)
			fail(verdict ? "refused otherwise" : "accepted", corpus[i].name, 0, 0);
	}
}

int main(int argc, char **argv)
{
	unsigned long rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 100000;
	uint64_t seed = argc > 3 ? strtoull(argv[3], NULL, 10) : 6193;
	const char *wrong;

	if (argc < 2) {
		fprintf(stderr, "usage: sdp_fuzz FOLDER [ROUNDS [SEED]]\n");
		return EXIT_FAILURE;
	}
	read_corpus(argv[1]);
	qsort(corpus, corpus_count, sizeof(corpus[0]), compare_names);
	check_corpus();
	state = seed * 0x9e3779b97f4a7c15ull + 1;
	for (unsigned long round = 0; round < rounds; round++) {
		struct text text = corpus[next(corpus_count)];

		for (uint64_t changes = 1 + next(1 + next(4)); changes; changes--)
			change_once(&text);
		if (judge(&text, &wrong))
			refused++;
		else
			accepted++;
		if (wrong)
			fail(wrong, text.name, round, seed);
	}
	printf("%zu texts with their verdicts, %lu changed ones (seed %" PRIu64
	       "): %u accepted, %u refused\n",
	       corpus_count, rounds, seed, accepted, refused);
	return EXIT_SUCCESS;
}
