/*
 * The load client: holds up to 250,000 SSE connections to servers on this machine and says when each
 * frame came, what was missed, and how long it took until everybody was back.
 *
 *   load.c          options, the children, the line commands on standard input
 *   load_connect.c  one child: opening, losing and reopening its connections (epoll)
 *   load_frames.c   bytes of one connection -> HTTP header -> chunks -> SSE blocks -> ids
 *   load_report.c   latency tables in shared memory, merged into JSON
 *
 * The children share two cores with the server they measure. Hence one recv() per frame, one shared
 * table and no message between the processes: the parent only reads counters that the children write.
 */
#ifndef TOUCHLINE_BENCH_LOAD_H
#define TOUCHLINE_BENCH_LOAD_H

#include <netinet/in.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    MAX_CONNECTIONS = 250000,
    MAX_PROCESSES = 16,
    MAX_PER_PROCESS = 19500, /* RLIMIT_NOFILE is 20,000 on the machines this runs on */
    MAX_TARGETS = 64,
    MAX_SECONDS = 1200,
    /* Published events whose latencies are kept at once; older ones are overwritten. */
    EVENT_SLOTS = 64,
    /* 64 buckets to each doubling: a quantile is right to 1.6 %. 27 doublings of 1 us are over an hour. */
    SUB_BUCKETS = 64,
    BUCKETS = SUB_BUCKETS * 27,
    READ_BYTES = 16384,
    /* A header or an SSE block longer than this is a broken server. */
    CARRY_LIMIT = 1 << 20,
};

struct options {
    int connections, processes;
    struct sockaddr_in targets[MAX_TARGETS];
    int target_count;
    const char *path, *host;
    const char *mark;     /* text before <epoch>-<seq> inside the frame; NULL: the frame's own `id:` */
    const char *match;    /* on a stream of several matches, the one whose events count; NULL: all */
    bool resume;          /* send Last-Event-ID after a loss */
    int window;           /* connections of one process being opened at once, first time */
    int reconnect_window; /* the same after a loss; 0: no bound, as real viewers have none */
    int rate;             /* first openings per second over all processes; 0: no bound */
    int browsers;         /* kinds of viewers: so many different request heads */
    int per_source;       /* connections to one 127.x.y.z source address */
    int retry_ms;         /* jitter of the first wait after a loss, on top of the server's `retry:` */
    int connect_seconds;  /* an opening that takes longer is given up and counted as a timeout */
    int max_seconds;
    uint64_t seed;
};

/* One published event as one child saw it. Offsets are from the first receipt by any child. */
struct event_slot {
    uint64_t epoch, seq;
    _Atomic uint32_t delivered;
    uint32_t frame_bytes; /* the SSE block, without HTTP chunk framing */
    uint64_t last_ns;     /* absolute, CLOCK_MONOTONIC */
    uint32_t buckets[BUCKETS];
};

/* Written by one child only, read by the parent. */
struct child_counters {
    _Atomic uint32_t live;         /* header 200 received, stream open */
    _Atomic uint64_t last_live_ns; /* when `live` last went up */
    _Atomic uint64_t first_lost_ns, last_lost_ns;
    _Atomic uint64_t lost, reconnects, refused, timeouts, rejected, bad_status, no_address;
    _Atomic uint64_t missed, duplicates, gap_events, epoch_changes, heartbeats, malformed, frames;
    struct event_slot slots[EVENT_SLOTS];
};

struct shared {
    _Atomic bool opening;
    atomic_flag claim; /* held for nanoseconds, once per event and child */
    struct {
        _Atomic uint64_t epoch, seq, first_ns;
    } base[EVENT_SLOTS];
    struct child_counters children[];
};

enum phase { IDLE, WAITING, CONNECTING, HEADER, LIVE };
enum chunk_phase { CHUNK_SIZE, CHUNK_BODY, CHUNK_END };

struct connection {
    int fd;
    uint8_t phase, chunk_phase;
    bool chunked, has_id, was_live;
    uint16_t attempt;
    uint32_t index;    /* over all processes */
    uint32_t retry_ms; /* the server's last `retry:`; 0: none given */
    uint64_t epoch, seq;
    uint64_t started_ns;
    uint64_t chunk_left;
    char *carry; /* the unfinished header or SSE block */
    uint32_t carry_length, carry_room;
};

/* One child process. */
struct child {
    const struct options *options;
    struct shared *shared;
    struct child_counters *counters;
    int number, epoll;
    struct connection *connections;
    int connection_count, in_flight;
    uint64_t random;
    /* The last read that was exactly one whole event: the next connection most likely reads the same. */
    char seen[READ_BYTES];
    int seen_length, seen_frame_bytes;
    uint64_t seen_epoch, seen_seq;
};

enum feed_result { FEED_OK, FEED_NOW_LIVE, FEED_REJECTED, FEED_BROKEN };

/* Each counter has one writer, so a plain store is enough; a locked add would be paid per frame. */
#define BUMP(counter, by)                                                                                    \
    atomic_store_explicit(&(counter), atomic_load_explicit(&(counter), memory_order_relaxed) + (by),         \
                          memory_order_relaxed)

uint64_t now_ns(void);

/* load_connect.c */
void run_child(const struct options *options, struct shared *shared, int number);

/* load_frames.c: what `bytes` mean for this connection. After FEED_REJECTED retry_ms is the server's wish. */
enum feed_result feed(struct child *child, struct connection *connection, const char *bytes, int length,
                      uint64_t received_ns);

/* load_report.c */
void record(struct child *child, uint64_t epoch, uint64_t seq, int frame_bytes, uint64_t received_ns);
uint32_t delivered(const struct shared *shared, int processes, uint64_t seq);
void print_event(const struct shared *shared, int processes, uint64_t seq, uint64_t sent_ns);
void print_totals(const struct shared *shared, int processes);

#endif
