/* The bytes of one connection: HTTP header, chunk framing, SSE blocks, ids in sequence. */
#include "load.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* ---- ids ---------------------------------------------------------------------------------------- */

static bool parse_id(const char *text, const char *end, uint64_t *epoch, uint64_t *seq)
{
    uint64_t parts[2] = {0, 0};

    for (int part = 0; part < 2; part++) {
        const char *start = text;

        while (text < end && *text >= '0' && *text <= '9')
            parts[part] = parts[part] * 10 + (uint64_t)(*text++ - '0');
        if (text == start || (part == 0 && (text == end || *text++ != '-')))
            return false;
    }
    *epoch = parts[0];
    *seq = parts[1];
    return true;
}

/* The check the whole client exists for: the next id, each id once, none left out. */
static void take_id(struct child *child, struct connection *connection, uint64_t epoch, uint64_t seq,
                    int frame_bytes, uint64_t received_ns)
{
    if (connection->has_id) {
        if (epoch != connection->epoch) {
            BUMP(child->counters->epoch_changes, 1);
        } else if (seq <= connection->seq) {
            BUMP(child->counters->duplicates, 1);
            return;
        } else {
            BUMP(child->counters->missed, seq - connection->seq - 1);
        }
    }
    connection->has_id = true;
    connection->epoch = epoch;
    connection->seq = seq;
    BUMP(child->counters->frames, 1);
    record(child, epoch, seq, frame_bytes, received_ns);
}

/* ---- SSE ---------------------------------------------------------------------------------------- */

static bool line_is(const char *line, int length, const char *field, const char **value)
{
    int name = (int)strlen(field);

    if (length <= name || memcmp(line, field, name) || line[name] != ':')
        return false;
    *value = line + name + 1;
    if (name + 1 < length && **value == ' ')
        ++*value;
    return true;
}

/* Returns whether the block was one event with an id and nothing else worth remembering. */
static bool take_block(struct child *child, struct connection *connection, const char *block, int length,
                       uint64_t received_ns)
{
    const char *line = block, *end = block + length, *value, *mark = child->options->mark;
    uint64_t epoch = 0, seq = 0;
    bool has_id = false, plain = true, snapshot = false, gap = false;

    while (line < end) {
        const char *newline = memchr(line, '\n', end - line);
        const char *stop = newline ? newline : end;
        int size = (int)(stop - line);

        if (size && line[size - 1] == '\r')
            size--;
        if (!mark && line_is(line, size, "id", &value)) {
            if (child->options->match) {
                int name = (int)strlen(child->options->match);

                /* On a stream of several matches, only this one's events are counted. */
                if (line + size - value <= name || memcmp(value, child->options->match, name) || value[name] != '@')
                    return false;
                value += name + 1;
            }
            has_id = parse_id(value, line + size, &epoch, &seq);
            if (!has_id)
                BUMP(child->counters->malformed, 1);
        } else if (mark && line_is(line, size, "data", &value)) {
            const char *at = memmem(value, line + size - value, mark, strlen(mark));

            has_id = at && parse_id(at + strlen(mark), line + size, &epoch, &seq);
        } else if (line_is(line, size, "event", &value)) {
            int rest = (int)(line + size - value);

            if (rest == 9 && !memcmp(value, "heartbeat", 9)) {
                BUMP(child->counters->heartbeats, 1);
                return false;
            }
            if (rest == 3 && !memcmp(value, "gap", 3)) {
                /* The server said that the missed part is gone: what follows is a new start. */
                gap = true;
                plain = false;
                snapshot = true;
            } else if (rest == 8 && !memcmp(value, "snapshot", 8)) {
                plain = false;
                snapshot = true;
            }
        } else if (line_is(line, size, "retry", &value)) {
            connection->retry_ms = (uint32_t)strtoul(value, NULL, 10);
            plain = false;
        }
        line = stop + 1;
    }
    if (gap) {
        BUMP(child->counters->gap_events, 1);
        connection->has_id = false;
    }
    if (!has_id)
        return false;
    if (snapshot) {
        /* Where the viewer stands, not an event delivered to it. */
        connection->has_id = true;
        connection->epoch = epoch;
        connection->seq = seq;
        return false;
    }
    take_id(child, connection, epoch, seq, length, received_ns);
    child->seen_epoch = epoch;
    child->seen_seq = seq;
    child->seen_frame_bytes = length;
    return plain;
}

/* ---- carried-over bytes ------------------------------------------------------------------------- */

static bool append(struct connection *connection, const char *bytes, size_t length)
{
    size_t wanted = connection->carry_length + length;

    if (wanted > CARRY_LIMIT)
        return false;
    if (wanted > connection->carry_room) {
        char *larger = realloc(connection->carry, wanted * 2);

        if (!larger)
            return false;
        connection->carry = larger;
        connection->carry_room = (uint32_t)wanted * 2;
    }
    memcpy(connection->carry + connection->carry_length, bytes, length);
    connection->carry_length = (uint32_t)wanted;
    return true;
}

static void drop_front(struct connection *connection, size_t length)
{
    connection->carry_length -= (uint32_t)length;
    if (connection->carry_length) {
        memmove(connection->carry, connection->carry + length, connection->carry_length);
    } else {
        /* 18,000 idle buffers would push the tables out of the cache that the server shares. */
        free(connection->carry);
        connection->carry = NULL;
        connection->carry_room = 0;
    }
}

/* Takes all whole blocks out of the carry; returns how many were events that `seen` may stand for. */
static int take_blocks(struct child *child, struct connection *connection, uint64_t received_ns, int *blocks)
{
    size_t start = 0, length = connection->carry_length;
    int plain = 0;

    *blocks = 0;
    for (size_t i = 0; i + 1 < length; i++) {
        size_t after;

        if (connection->carry[i] != '\n')
            continue;
        if (connection->carry[i + 1] == '\n')
            after = i + 2;
        else if (i + 2 < length && connection->carry[i + 1] == '\r' && connection->carry[i + 2] == '\n')
            after = i + 3;
        else
            continue;
        /* A comment alone says nothing: an event with one behind it is read like the event alone. */
        if (connection->carry[start] != ':' || after - start > 3) {
            plain += take_block(child, connection, connection->carry + start, (int)(after - start), received_ns);
            ++*blocks;
        }
        start = after;
        i = after - 1;
    }
    drop_front(connection, start);
    return plain;
}

/* ---- chunked transfer coding -------------------------------------------------------------------- */

/* The chunk-size line is at most a few digits, kept in chunk_left as they come. */
static bool unchunk(struct connection *connection, const char *bytes, int length)
{
    const char *end = bytes + length;

    while (bytes < end) {
        if (connection->chunk_phase == CHUNK_BODY) {
            size_t part = (size_t)(end - bytes);

            if (part > connection->chunk_left)
                part = connection->chunk_left;
            if (!append(connection, bytes, part))
                return false;
            bytes += part;
            connection->chunk_left -= part;
            if (!connection->chunk_left)
                connection->chunk_phase = CHUNK_END;
            continue;
        }
        char c = *bytes++;

        if (c == '\n') {
            if (connection->chunk_phase == CHUNK_SIZE && !connection->chunk_left)
                return false; /* the last chunk: the server ended the stream */
            connection->chunk_phase = connection->chunk_phase == CHUNK_SIZE ? CHUNK_BODY : CHUNK_SIZE;
        } else if (connection->chunk_phase == CHUNK_SIZE && c != '\r') {
            int digit = c >= '0' && c <= '9' ? c - '0' : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 87 : -1;

            if (digit < 0 || connection->chunk_left > CARRY_LIMIT)
                return false; /* extensions are not used by any server here */
            connection->chunk_left = connection->chunk_left * 16 + (uint64_t)digit;
        }
    }
    return true;
}

/* ---- HTTP header -------------------------------------------------------------------------------- */

static enum feed_result take_header(struct child *child, struct connection *connection, size_t *header_bytes)
{
    char *end = memmem(connection->carry, connection->carry_length, "\r\n\r\n", 4);
    int status;

    if (!end)
        return FEED_OK;
    *header_bytes = (size_t)(end - connection->carry) + 4;
    *end = 0; /* as text for the searches below; these bytes are dropped afterwards */
    if (strncmp(connection->carry, "HTTP/1.", 7))
        return FEED_BROKEN;
    status = atoi(connection->carry + 9);
    if (status == 503 || status == 429) {
        char *after = strcasestr(connection->carry, "\r\nretry-after:");

        connection->retry_ms = after ? (uint32_t)(atof(after + 14) * 1000) : 0;
        BUMP(child->counters->rejected, 1);
        return FEED_REJECTED;
    }
    if (status != 200) {
        BUMP(child->counters->bad_status, 1);
        return FEED_BROKEN;
    }
    connection->chunked = strcasestr(connection->carry, "\r\ntransfer-encoding: chunked") != NULL;
    connection->chunk_phase = CHUNK_SIZE;
    connection->chunk_left = 0;
    return FEED_NOW_LIVE;
}

/* ---- entry -------------------------------------------------------------------------------------- */

enum feed_result feed(struct child *child, struct connection *connection, const char *bytes, int length,
                      uint64_t received_ns)
{
    bool at_boundary = connection->phase == LIVE && !connection->carry_length &&
                       (!connection->chunked || connection->chunk_phase == CHUNK_SIZE) && !connection->chunk_left;
    enum feed_result result = FEED_OK;
    int blocks, plain;

    /* The same event was just read on another connection: nothing to parse. */
    if (at_boundary && length == child->seen_length && !memcmp(bytes, child->seen, (size_t)length)) {
        take_id(child, connection, child->seen_epoch, child->seen_seq, child->seen_frame_bytes, received_ns);
        return FEED_OK;
    }
    if (connection->phase == HEADER) {
        size_t header_bytes = 0, before = connection->carry_length;

        if (!append(connection, bytes, (size_t)length))
            return FEED_BROKEN;
        result = take_header(child, connection, &header_bytes);
        if (result != FEED_NOW_LIVE)
            return result;
        bytes += header_bytes - before;
        length -= (int)(header_bytes - before);
        drop_front(connection, connection->carry_length);
    }
    if (connection->chunked ? !unchunk(connection, bytes, length) : !append(connection, bytes, (size_t)length))
        return FEED_BROKEN;
    plain = take_blocks(child, connection, received_ns, &blocks);
    if (at_boundary && plain == 1 && blocks == 1 && !connection->carry_length &&
        (!connection->chunked || connection->chunk_phase == CHUNK_SIZE) && !connection->chunk_left) {
        memcpy(child->seen, bytes, (size_t)length);
        child->seen_length = length;
    } else if (plain) {
        child->seen_length = 0; /* the id is of another block than the bytes */
    }
    return result;
}
