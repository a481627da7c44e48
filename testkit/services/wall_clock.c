/* A wall clock that tests can set, for one process: LD_PRELOAD this, with the name of a file of 8 bytes in
 * WALL_CLOCK_OFFSET_FILE: microseconds to add, as a native int64. The monotonic clock is left alone, as it
 * is when a machine's clock is set. (libfaketime cannot be loaded into a program with jemalloc.) */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset_us;

__attribute__((constructor)) static void find_offset(void) {
	const char *path = getenv("WALL_CLOCK_OFFSET_FILE");
	int file = path ? open(path, O_RDONLY) : -1;
	void *page = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *offset_us, PROT_READ, MAP_SHARED, file, 0);
	if (page != MAP_FAILED) offset_us = page;
	if (file >= 0) close(file);
}

int clock_gettime(clockid_t clock, struct timespec *now) {
	int failed = (int)syscall(SYS_clock_gettime, clock, now);
	if (!failed && clock == CLOCK_REALTIME && offset_us) {
		int64_t us = (int64_t)now->tv_sec * 1000000 + now->tv_nsec / 1000 + *offset_us;
		now->tv_sec = us / 1000000;
		now->tv_nsec = us % 1000000 * 1000;
	}
	return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
	struct timespec fine;
	(void)zone;
	if (clock_gettime(CLOCK_REALTIME, &fine)) return -1;
	now->tv_sec = fine.tv_sec;
	now->tv_usec = fine.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *out) {
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	if (out) *out = now.tv_sec;
	return now.tv_sec;
}
