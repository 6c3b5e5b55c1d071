/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The recording's own edges: what stands in the file, how it begins and ends, and what its failure harms. */
#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <syslog.h>

#include "bus_fixture.h"

#include "bus/internal.h"
#include "bus/redact.h"

#define KEY          "0123456789abcdef0123456789abcdef"
#define SIZE_MAXIMUM ((size_t)64 * 1024 * 1024)

/** An ike-agent that orders, a tunnel-agent that obeys, and both are recorded; the cli orders the recordings. */
struct scene {
	struct fixture *fixture;
	struct bus *ike, *tunnel, *cli;
	char directory[2][128]; /* ike-agent's, tunnel-agent's */
	unsigned executed, keys_seen;
	int ended;
	enum bus_outcome outcome;
	char cause[400];
};

static char last_error[512];

static void note_error(int level, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void note_error(int level, const char *format, ...)
{
	va_list arguments;

	if (level > LOG_ERR)
		return;
	va_start(arguments, format);
	vsnprintf(last_error, sizeof(last_error), format, arguments);
	va_end(arguments);
}

static void on_order(void *context, struct bus_request *request, const Vpnsip__Envelope *order)
{
	struct scene *scene = context;
	const Vpnsip__InstallSa *sa = order->install_child->inbound;

	scene->executed++;
	if (sa->encryption_key->octets.len == strlen(KEY) &&
	    memcmp(sa->encryption_key->octets.data, KEY, strlen(KEY)) == 0)
		scene->keys_seen++;
	bus_done(request);
}

static const struct bus_handlers tunnel_handlers = {.request = on_order};
static const struct bus_handlers no_handlers;

static bool is_complete(void *context)
{
	const struct scene *scene = context;

	return peers_are_complete(scene->ike) && peers_are_complete(scene->cli);
}

static struct bus *open_recorded(struct scene *scene, Vpnsip__Service self, int place,
                                 const struct bus_handlers *handlers)
{
	snprintf(scene->directory[place], sizeof(scene->directory[place]), "%s/state%d",
	         scene->fixture->run_directory, place);
	assert_int_equal(mkdir(scene->directory[place], 0700), 0);
	return open_bus_with(
		scene->fixture,
		(struct bus_options){.self = self,
	                             .handlers = handlers,
	                             .calls = self == IKE_AGENT ? BUS_SERVICE(TUNNEL_AGENT) : 0,
	                             .state_directory = scene->directory[place],
	                             .version = "1",
	                             .config_digest = "digest",
	                             .log = note_error,
	                             .context = scene});
}

static void open_scene(struct scene *scene, struct fixture *fixture)
{
	memset(scene, 0, sizeof(*scene));
	last_error[0] = '\0';
	scene->fixture = fixture;
	scene->tunnel = open_recorded(scene, TUNNEL_AGENT, 1, &tunnel_handlers);
	scene->ike = open_recorded(scene, IKE_AGENT, 0, &no_handlers);
	scene->cli = open_bus_with(fixture,
	                           (struct bus_options){.self = CLI,
	                                                .calls = BUS_SERVICE(TUNNEL_AGENT) |
	                                                         BUS_SERVICE(IKE_AGENT) |
	                                                         BUS_SERVICE(SIP_AGENT),
	                                                .handlers = &no_handlers});
	run_until(fixture->base, 1000, is_complete, scene);
}

static void close_scene(struct scene *scene)
{
	bus_close(scene->cli);
	bus_close(scene->ike);
	bus_close(scene->tunnel);
}

static void on_reply(void *context, enum bus_outcome outcome, const Vpnsip__Envelope *reply)
{
	struct scene *scene = context;

	scene->ended = 1;
	scene->outcome = outcome;
	snprintf(scene->cause, sizeof(scene->cause), "%s", bus_cause(reply));
}

static void call(struct scene *scene, struct bus *from, Vpnsip__Service to,
                 const ProtobufCMessage *order)
{
	scene->ended = 0;
	bus_call(from, to, "vsip7", order, 2000, on_reply, scene);
	assert_true(run_until(scene->fixture->base, 2500, is_set, &scene->ended));
}

static const char *start(struct scene *scene, Vpnsip__Service where, const char *name)
{
	Vpnsip__StartRecording order = VPNSIP__START_RECORDING__INIT;

	order.name = (char *)name;
	call(scene, scene->cli, where, &order.base);
	return scene->cause;
}

static const char *stop(struct scene *scene, Vpnsip__Service where)
{
	Vpnsip__StopRecording order = VPNSIP__STOP_RECORDING__INIT;

	call(scene, scene->cli, where, &order.base);
	return scene->cause;
}

/** Orders a child with KEY; it must be carried out, whatever the recording does. */
static void install(struct scene *scene)
{
	Vpnsip__InstallChild child = VPNSIP__INSTALL_CHILD__INIT;
	Vpnsip__InstallSa sa = VPNSIP__INSTALL_SA__INIT;
	Vpnsip__Secret key = VPNSIP__SECRET__INIT;
	unsigned executed = scene->executed, keys_seen = scene->keys_seen;

	key.octets = (ProtobufCBinaryData){strlen(KEY), (uint8_t *)KEY};
	sa.spi = 0x12345678;
	sa.encryption_key = &key;
	child.inbound = child.outbound = &sa;
	call(scene, scene->ike, TUNNEL_AGENT, &child.base);
	assert_int_equal(scene->outcome, BUS_DONE);
	assert_int_equal(scene->executed, executed + 1);
	assert_int_equal(scene->keys_seen, keys_seen + 1);
}

static const char *file_of(const struct scene *scene, int place, const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s" RECORD_SUFFIX, scene->directory[place], name);
	return path;
}

struct contents {
	uint8_t *octets;
	size_t size, at;
};

static struct contents read_file(const char *path)
{
	struct contents contents = {0};
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &status), 0);
	contents.size = (size_t)status.st_size;
	contents.octets = malloc(contents.size + 1);
	assert_int_equal(read(fd, contents.octets, contents.size), status.st_size);
	close(fd);
	return contents;
}

/** The next message of the file, or NULL at its end; half a message is an error. */
static ProtobufCMessage *next(struct contents *contents, const ProtobufCMessageDescriptor *type)
{
	ProtobufCMessage *message;
	uint32_t length;

	if (contents->at == contents->size)
		return NULL;
	assert_true(contents->size - contents->at >= sizeof(length));
	memcpy(&length, contents->octets + contents->at, sizeof(length));
	length = ntohl(length);
	contents->at += sizeof(length);
	assert_true(contents->size - contents->at >= length);
	message = protobuf_c_message_unpack(type, NULL, length, contents->octets + contents->at);
	assert_non_null(message);
	contents->at += length;
	return message;
}

static void check_header(struct contents *contents, Vpnsip__Service service)
{
	ProtobufCMessage *message = next(contents, &vpnsip__record_header__descriptor);
	const Vpnsip__RecordHeader *header = (const Vpnsip__RecordHeader *)message;

	assert_non_null(message);
	assert_int_equal(header->format, 1);
	assert_int_equal(header->service, service);
	assert_string_equal(header->config_digest, "digest");
	assert_false(header->is_from_start);
	protobuf_c_message_free_unpacked(message, NULL);
}

/** Whether the record holds an InstallChild, with the text in place of both keys. */
static bool is_redacted_order(const Vpnsip__Record *record)
{
	Vpnsip__Envelope *envelope = envelope_unpack(record->octets.data, record->octets.len);
	bool is_order = envelope != NULL &&
	                envelope->body_case == VPNSIP__ENVELOPE__BODY_INSTALL_CHILD;

	if (is_order) {
		const ProtobufCBinaryData *key =
			&envelope->install_child->outbound->encryption_key->octets;

		assert_int_equal(envelope->install_child->outbound->spi, 0x12345678);
		assert_int_equal(key->len, strlen(REDACTED_TEXT));
		assert_memory_equal(key->data, REDACTED_TEXT, key->len);
	}
	bus_free_envelope(envelope);
	return is_order;
}

/** A recording of one install(), as seen by one of its ends. */
static void check_recording(const struct scene *scene, int place, const char *name,
                            Vpnsip__Service service, Vpnsip__RecordKind order,
                            Vpnsip__RecordKind reply)
{
	struct contents contents = read_file(file_of(scene, place, name));
	unsigned orders = 0, replies = 0;
	ProtobufCMessage *message;

	assert_null(memmem(contents.octets, contents.size, KEY, strlen(KEY)));
	check_header(&contents, service);
	while ((message = next(&contents, &vpnsip__record__descriptor)) != NULL) {
		const Vpnsip__Record *record = (const Vpnsip__Record *)message;

		assert_true(record->mono_usec != 0 && record->wall_usec != 0);
		if (record->kind == order)
			orders += is_redacted_order(record);
		else if (record->kind == reply)
			replies++;
		protobuf_c_message_free_unpacked(message, NULL);
	}
	assert_int_equal(orders, 1);
	assert_int_equal(replies, 1);
	free(contents.octets);
}

/** The control: install() sees the key at the other end of the bus. */
static void no_secret_stands_in_the_file(void **state)
{
	struct stat status;
	struct scene scene;

	open_scene(&scene, *state);
	assert_string_equal(start(&scene, IKE_AGENT, "sender"), "");
	assert_string_equal(start(&scene, TUNNEL_AGENT, "receiver"), "");
	install(&scene);
	assert_string_equal(stop(&scene, IKE_AGENT), "");
	assert_string_equal(stop(&scene, TUNNEL_AGENT), "");
	install(&scene); /* after the end: in no file */
	check_recording(&scene, 0, "sender", IKE_AGENT, VPNSIP__RECORD_KIND__RECORD_REQUEST_SENT,
	                VPNSIP__RECORD_KIND__RECORD_REPLY);
	check_recording(&scene, 1, "receiver", TUNNEL_AGENT, VPNSIP__RECORD_KIND__RECORD_REQUEST,
	                VPNSIP__RECORD_KIND__RECORD_REPLY_SENT);
	assert_int_equal(stat(file_of(&scene, 0, "sender"), &status), 0);
	assert_int_equal(status.st_mode & 0777, 0600);
	close_scene(&scene);
}

static void a_name_is_a_name(void **state)
{
	static const char *const bad[] = {
		"",
		".",
		"..",
		"a/b",
		"/tmp/x",
		"../x",
		"a.b",
		"a b",
		"a\nb",
		"\xc3\xa4",
		"a23456789b23456789c23456789d23456789e23456789f23456789g23456789h23"};
	struct scene scene;
	struct stat status;

	open_scene(&scene, *state);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		assert_string_equal(start(&scene, IKE_AGENT, bad[i]),
		                    "no recording: a name is of letters, digits, '-' and '_'");
		assert_string_equal(stop(&scene, IKE_AGENT), "nothing is being recorded");
	}
	assert_string_equal(
		start(&scene, IKE_AGENT,
	              "Az_0-456789b23456789c23456789d23456789e23456789f23456789g2345678"),
		"");
	assert_string_equal(stop(&scene, IKE_AGENT), "");

	/* A link that somebody put there is not followed. */
	assert_int_equal(symlink("/tmp/vpnsip-not-there", file_of(&scene, 0, "link")), 0);
	assert_non_null(strstr(start(&scene, IKE_AGENT, "link"), "Too many levels"));
	assert_int_equal(lstat("/tmp/vpnsip-not-there", &status), -1);
	close_scene(&scene);
}

static void one_recording_at_a_time(void **state)
{
	struct scene scene;
	char expected[300];

	open_scene(&scene, *state);
	assert_string_equal(start(&scene, TUNNEL_AGENT, "one"), "");
	snprintf(expected, sizeof(expected), "no recording: %s is being written",
	         file_of(&scene, 1, "one"));
	assert_string_equal(start(&scene, TUNNEL_AGENT, "two"), expected);
	assert_string_equal(start(&scene, TUNNEL_AGENT, "one"), expected);
	assert_int_equal(access(file_of(&scene, 1, "two"), F_OK), -1);
	install(&scene); /* the first goes on */
	assert_string_equal(stop(&scene, TUNNEL_AGENT), "");
	check_recording(&scene, 1, "one", TUNNEL_AGENT, VPNSIP__RECORD_KIND__RECORD_REQUEST,
	                VPNSIP__RECORD_KIND__RECORD_REPLY_SENT);
	assert_string_equal(stop(&scene, TUNNEL_AGENT), "nothing is being recorded");

	/* The same name again: a new file, with nothing of the old one. */
	assert_string_equal(start(&scene, TUNNEL_AGENT, "one"), "");
	install(&scene);
	assert_string_equal(stop(&scene, TUNNEL_AGENT), "");
	check_recording(&scene, 1, "one", TUNNEL_AGENT, VPNSIP__RECORD_KIND__RECORD_REQUEST,
	                VPNSIP__RECORD_KIND__RECORD_REPLY_SENT);
	close_scene(&scene);
}

static void it_says_why_it_cannot_begin(void **state)
{
	struct scene scene;
	struct bus *other;

	open_scene(&scene, *state);
	other = open_bus_with(scene.fixture,
	                      (struct bus_options){.self = SIP_AGENT, .handlers = &no_handlers});
	assert_string_equal(start(&scene, SIP_AGENT, "x"),
	                    "no recording: this service has no state directory");
	remove_tree(scene.directory[0]);
	assert_non_null(strstr(start(&scene, IKE_AGENT, "x"), "x.record: No such file"));
	assert_string_equal(stop(&scene, IKE_AGENT), "nothing is being recorded");
	install(&scene);
	bus_close(other);
	close_scene(&scene);
}

/** The descriptor under which this process has the file open. */
static int descriptor_of(const char *path)
{
	struct stat wanted, status;

	assert_int_equal(stat(path, &wanted), 0);
	for (int fd = 0; fd < 1024; fd++)
		if (fstat(fd, &status) == 0 && status.st_dev == wanted.st_dev &&
		    status.st_ino == wanted.st_ino)
			return fd;
	fail_msg("%s is not open", path);
	return -1;
}

/** From now on each write of octets into the file fails as on a full disk. */
static void fill_disk(const char *path)
{
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	assert_true(full >= 0);
	assert_true(dup2(full, descriptor_of(path)) >= 0);
	close(full);
}

static bool is_over(void *context)
{
	return ((const struct bus *)context)->record == NULL;
}

static void assert_ended(const struct scene *scene, int place, const char *name, const char *why)
{
	char expected[400];

	snprintf(expected, sizeof(expected), "bus: the recording %s ends: %s",
	         file_of(scene, place, name), why);
	assert_string_equal(last_error, expected);
}

static void a_full_disk_ends_the_recording_alone(void **state)
{
	struct scene scene;

	open_scene(&scene, *state);
	/* Found by the tick that writes each second. */
	assert_string_equal(start(&scene, TUNNEL_AGENT, "tick"), "");
	fill_disk(file_of(&scene, 1, "tick"));
	install(&scene);
	assert_true(run_until(scene.fixture->base, 3000, is_over, scene.tunnel));
	assert_ended(&scene, 1, "tick", "No space left on device");
	install(&scene);
	assert_string_equal(stop(&scene, TUNNEL_AGENT), "nothing is being recorded");

	/* By the end, which has something left to write. */
	assert_string_equal(start(&scene, TUNNEL_AGENT, "end"), "");
	fill_disk(file_of(&scene, 1, "end"));
	install(&scene);
	last_error[0] = '\0';
	stop(&scene, TUNNEL_AGENT);
	assert_ended(&scene, 1, "end", "No space left on device");

	/* And by what does not fit into the buffer, in the middle of work. */
	assert_string_equal(start(&scene, TUNNEL_AGENT, "buffer"), "");
	fill_disk(file_of(&scene, 1, "buffer"));
	last_error[0] = '\0';
	for (int i = 0; i < 3; i++)
		bus_record_core(scene.tunnel, "core", false, (const uint8_t[40000]){0}, 40000);
	assert_true(is_over(scene.tunnel));
	assert_ended(&scene, 1, "buffer", "No space left on device");
	install(&scene);

	/* A new one can be begun once there is room. */
	assert_string_equal(start(&scene, TUNNEL_AGENT, "after"), "");
	install(&scene);
	assert_string_equal(stop(&scene, TUNNEL_AGENT), "");
	check_recording(&scene, 1, "after", TUNNEL_AGENT, VPNSIP__RECORD_KIND__RECORD_REQUEST,
	                VPNSIP__RECORD_KIND__RECORD_REPLY_SENT);
	close_scene(&scene);
}

static void a_recording_has_a_greatest_size(void **state)
{
	const size_t part = 1024 * 1024;
	uint8_t *octets = calloc(1, part);
	struct contents contents;
	ProtobufCMessage *message;
	unsigned records = 0;
	struct scene scene;

	open_scene(&scene, *state);
	assert_string_equal(start(&scene, TUNNEL_AGENT, "large"), "");
	for (int i = 0; i < 63; i++)
		bus_record_core(scene.tunnel, "core", false, octets, part);
	assert_false(is_over(scene.tunnel));
	bus_record_core(scene.tunnel, "core", false, octets, part);
	assert_true(is_over(scene.tunnel));
	assert_ended(&scene, 1, "large", "it has reached 64 MiB");
	install(&scene);

	/* What stands in it is whole. */
	contents = read_file(file_of(&scene, 1, "large"));
	assert_true(contents.size <= SIZE_MAXIMUM);
	check_header(&contents, TUNNEL_AGENT);
	while ((message = next(&contents, &vpnsip__record__descriptor)) != NULL) {
		records++;
		protobuf_c_message_free_unpacked(message, NULL);
	}
	assert_int_equal(records, 63);
	free(contents.octets);
	free(octets);
	close_scene(&scene);
}

#define RECORD_TEST(name) cmocka_unit_test_setup_teardown(name, fixture_set_up, fixture_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		RECORD_TEST(no_secret_stands_in_the_file),
		RECORD_TEST(a_name_is_a_name),
		RECORD_TEST(one_recording_at_a_time),
		RECORD_TEST(it_says_why_it_cannot_begin),
		RECORD_TEST(a_full_disk_ends_the_recording_alone),
		RECORD_TEST(a_recording_has_a_greatest_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
