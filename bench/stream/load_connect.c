/* One child process: opens its share of the connections, reads them, and reopens those it loses. */
#include "load.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef IP_BIND_ADDRESS_NO_PORT
#define IP_BIND_ADDRESS_NO_PORT 24
#endif

enum {
    BATCH = 256,
    MAX_REQUEST = 2048,
    WAIT_CAP_MS = 30000,
    HINT_CAP_MS = 300000,
};

/* A binary heap of (due time, connection) for those that wait before they come back. */
struct waiter {
    uint64_t due_ns;
    int connection;
};

static struct waiter *heap;
static int heap_size;
/* Connections that may open now, oldest first; a ring, since one connection is in it at most once. */
static int *ready, ready_head, ready_count;

uint64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static void heap_push(uint64_t due_ns, int connection)
{
    int at = heap_size++;

    while (at && heap[(at - 1) / 2].due_ns > due_ns) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = (struct waiter){due_ns, connection};
}

static int heap_pop(void)
{
    int top = heap[0].connection, at = 0;
    struct waiter last = heap[--heap_size];

    for (;;) {
        int child = 2 * at + 1;

        if (child + 1 < heap_size && heap[child + 1].due_ns < heap[child].due_ns)
            child++;
        if (child >= heap_size || heap[child].due_ns >= last.due_ns)
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = last;
    return top;
}

static void make_ready(struct child *child, int connection)
{
    ready[(ready_head + ready_count++) % child->connection_count] = connection;
}

/* xorshift64*: only spreads waiting times */
static uint64_t draw(struct child *child, uint64_t below)
{
    child->random ^= child->random >> 12;
    child->random ^= child->random << 25;
    child->random ^= child->random >> 27;
    return below ? (child->random * 2685821657736338717ULL >> 11) % below : 0;
}

/*
 * The product's own schedule, shared_state/reconnect.py: the server's hint, and on top of it full jitter over a
 * window that doubles with every attempt. The same for every server, whether it gives a hint or not.
 */
static void wait_and_reopen(struct child *child, struct connection *connection)
{
    uint64_t hint = connection->retry_ms < HINT_CAP_MS ? connection->retry_ms : HINT_CAP_MS;
    uint64_t window = (uint64_t)child->options->retry_ms << (connection->attempt < 15 ? connection->attempt : 15);
    uint64_t wait_ms = hint + draw(child, window < WAIT_CAP_MS ? window : WAIT_CAP_MS);

    if (connection->attempt < UINT16_MAX)
        connection->attempt++;
    connection->phase = WAITING;
    /* Drawn to the microsecond: whole milliseconds would come in lumps. */
    heap_push(now_ns() + wait_ms * 1000000 + draw(child, 1000) * 1000, (int)(connection - child->connections));
}

static void lose(struct child *child, struct connection *connection)
{
    struct child_counters *counters = child->counters;

    if (connection->phase == LIVE) {
        uint64_t now = now_ns();

        if (!counters->lost)
            counters->first_lost_ns = now;
        counters->last_lost_ns = now;
        BUMP(counters->lost, 1);
        BUMP(counters->live, -1);
        connection->attempt = 0;
    } else if (connection->phase == CONNECTING || connection->phase == HEADER) {
        child->in_flight--;
    }
    close(connection->fd);
    connection->fd = -1;
    free(connection->carry);
    connection->carry = NULL;
    connection->carry_length = connection->carry_room = 0;
    wait_and_reopen(child, connection);
}

static bool send_request(struct child *child, struct connection *connection)
{
    const struct options *options = child->options;
    char request[MAX_REQUEST], resume[64] = "";
    int length;

    if (options->resume && connection->was_live && connection->has_id)
        snprintf(resume, sizeof resume, "Last-Event-ID: %llu-%llu\r\n", (unsigned long long)connection->epoch,
                 (unsigned long long)connection->seq);
    /* What an EventSource sends, less what makes some servers compress or refuse. */
    length = snprintf(request, sizeof request,
                      "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: keep-alive\r\n"
                      "User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
                      "Chrome/%u.0.0.0 Safari/537.36\r\nAccept: text/event-stream\r\n"
                      "Cache-Control: no-cache\r\nSec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: cors\r\n"
                      "Sec-Fetch-Dest: empty\r\nAccept-Language: en-GB,en;q=0.9\r\n%s\r\n",
                      options->path, options->host, connection->index % (uint32_t)options->browsers, resume);
    return send(connection->fd, request, (size_t)length, MSG_NOSIGNAL) == length;
}

static void bind_source(struct child *child, struct connection *connection)
{
    uint32_t group = connection->index / (uint32_t)child->options->per_source, one = 1;
    struct sockaddr_in source = {.sin_family = AF_INET};
    struct linger reset = {.l_onoff = 1, .l_linger = 0};

    /* Closed by RST: 200,000 sockets in TIME_WAIT would disturb whoever is measured next. */
    setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    /* 127.64.0.1 and up: far from the servers' own addresses. The port is chosen at connect(), by 4-tuple. */
    source.sin_addr.s_addr = htonl(0x7f400001u + group / 250 * 256 + group % 250);
    setsockopt(connection->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof one);
    if (bind(connection->fd, (struct sockaddr *)&source, sizeof source))
        BUMP(child->counters->no_address, 1);
}

static void open_one(struct child *child, struct connection *connection)
{
    const struct sockaddr_in *target =
        &child->options->targets[connection->index % (uint32_t)child->options->target_count];
    struct epoll_event event = {.data.u32 = (uint32_t)(connection - child->connections)};

    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0) {
        BUMP(child->counters->no_address, 1);
        wait_and_reopen(child, connection);
        return;
    }
    bind_source(child, connection);
    connection->started_ns = now_ns();
    connection->phase = CONNECTING;
    child->in_flight++;
    if (connect(connection->fd, (const struct sockaddr *)target, sizeof *target) && errno != EINPROGRESS) {
        if (errno == EADDRNOTAVAIL)
            BUMP(child->counters->no_address, 1);
        else
            BUMP(child->counters->refused, 1);
        lose(child, connection);
        return;
    }
    /* On loopback the handshake is most often done by now, which saves a turn of the loop. */
    if (send_request(child, connection)) {
        connection->phase = HEADER;
        event.events = EPOLLIN;
    } else if (errno == EAGAIN) {
        event.events = EPOLLOUT;
    } else {
        BUMP(child->counters->refused, 1);
        lose(child, connection);
        return;
    }
    epoll_ctl(child->epoll, EPOLL_CTL_ADD, connection->fd, &event);
}

/* Runs every turn of the loop; `first_time` paces the initial opening only. */
static void open_ready(struct child *child, uint64_t opened_since_ns, int *opened)
{
    const struct options *options = child->options;

    while (ready_count) {
        struct connection *connection = &child->connections[ready[ready_head]];
        int window = connection->was_live ? options->reconnect_window : options->window;

        if (window && child->in_flight >= window)
            return;
        if (!connection->was_live && options->rate && connection->attempt == 0) {
            double allowed = (double)(now_ns() - opened_since_ns) / 1e9 * options->rate / options->processes;

            if (*opened >= allowed)
                return;
            ++*opened;
        }
        ready_head = (ready_head + 1) % child->connection_count;
        ready_count--;
        open_one(child, connection);
    }
}

static void now_live(struct child *child, struct connection *connection, uint64_t received_ns)
{
    child->in_flight--;
    connection->phase = LIVE;
    connection->attempt = 0;
    if (connection->was_live)
        BUMP(child->counters->reconnects, 1);
    connection->was_live = true;
    /* The time first: the parent reads `live` and then when it was reached. */
    child->counters->last_live_ns = received_ns;
    BUMP(child->counters->live, 1);
}

static void handle(struct child *child, struct connection *connection, uint32_t events)
{
    static char bytes[READ_BYTES];
    uint64_t received_ns;
    ssize_t got;

    if (connection->phase == CONNECTING && (events & EPOLLOUT)) {
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)(connection - child->connections)};

        if (!send_request(child, connection)) {
            BUMP(child->counters->refused, 1);
            lose(child, connection);
            return;
        }
        connection->phase = HEADER;
        epoll_ctl(child->epoll, EPOLL_CTL_MOD, connection->fd, &event);
        return;
    }
    got = recv(connection->fd, bytes, sizeof bytes, 0);
    received_ns = now_ns();
    if (got <= 0) {
        if (got < 0 && errno == EAGAIN)
            return;
        if (connection->phase != LIVE)
            BUMP(child->counters->refused, 1);
        lose(child, connection);
        return;
    }
    switch (feed(child, connection, bytes, (int)got, received_ns)) {
    case FEED_OK:
        break;
    case FEED_NOW_LIVE:
        now_live(child, connection, received_ns);
        break;
    case FEED_REJECTED:
    case FEED_BROKEN:
        lose(child, connection);
        break;
    }
}

/* A server that accepts and never answers would hold a place in the window for good. */
static void give_up_stuck(struct child *child, uint64_t now)
{
    for (int i = 0; i < child->connection_count; i++) {
        struct connection *connection = &child->connections[i];

        if ((connection->phase == CONNECTING || connection->phase == HEADER) &&
            now > connection->started_ns + (uint64_t)child->options->connect_seconds * 1000000000ULL) {
            BUMP(child->counters->timeouts, 1);
            lose(child, connection);
        }
    }
}

static int wait_ms(const struct child *child, uint64_t now)
{
    uint64_t left;

    if (ready_count && !child->in_flight)
        return 1; /* held back by the rate alone */
    if (!heap_size)
        return 20; /* how soon an `open` or a parent's death is seen */
    left = heap[0].due_ns > now ? (heap[0].due_ns - now) / 1000000 : 0;
    return left < 20 ? (int)left : 20;
}

static void start_child(struct child *child, const struct options *options, struct shared *shared, int number)
{
    int share = options->connections / options->processes, extra = options->connections % options->processes;
    int first = number * share + (number < extra ? number : extra);

    /* The parent may have died before this line: then stdin is gone and nobody would ever stop us. */
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm((unsigned)options->max_seconds);
    child->options = options;
    child->shared = shared;
    child->counters = &shared->children[number];
    child->number = number;
    child->connection_count = share + (number < extra);
    child->connections = calloc((size_t)child->connection_count, sizeof *child->connections);
    child->random = options->seed * 0x9e3779b97f4a7c15ULL + (uint64_t)number * 0xbf58476d1ce4e5b9ULL + 1;
    heap = calloc((size_t)child->connection_count + 1, sizeof *heap);
    ready = calloc((size_t)child->connection_count, sizeof *ready);
    child->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!child->connections || !heap || !ready || child->epoll < 0)
        exit(1);
    for (int i = 0; i < child->connection_count; i++) {
        child->connections[i].fd = -1;
        child->connections[i].index = (uint32_t)(first + i);
        make_ready(child, i);
    }
}

/*
 * A viewer at the end of a network never makes its server wake a sleeping process on the same machine. A
 * client that goes back to sleep after each frame would: each send then carries a wake-up, several
 * microseconds that are the client's doing and are booked on the server, whichever server it is. So between
 * frames it looks again after half a millisecond instead of asking to be woken.
 */
static void rest(void)
{
    const struct timespec pause = { .tv_sec = 0, .tv_nsec = 500000 };

    nanosleep(&pause, NULL);
}

void run_child(const struct options *options, struct shared *shared, int number)
{
    static struct child child;
    struct epoll_event events[BATCH];
    uint64_t opened_since_ns = 0, swept_ns = 0;
    int opened = 0;

    start_child(&child, options, shared, number);
    for (;;) {
        uint64_t now = now_ns();
        int count;

        while (heap_size && heap[0].due_ns <= now)
            make_ready(&child, heap_pop());
        if (shared->opening) {
            if (!opened_since_ns)
                opened_since_ns = now;
            open_ready(&child, opened_since_ns, &opened);
        }
        if (now > swept_ns + 1000000000ULL) {
            if (child.in_flight)
                give_up_stuck(&child, now);
            swept_ns = now;
        }
        count = epoll_wait(child.epoll, events, BATCH, wait_ms(&child, now));
        for (int i = 0; i < count; i++) {
            struct connection *connection = &child.connections[events[i].data.u32];

            if (connection->fd >= 0)
                handle(&child, connection, events[i].events);
        }
        if (count > 0 && count < BATCH && !child.in_flight)
            rest();
    }
}
