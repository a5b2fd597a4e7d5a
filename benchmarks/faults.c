/* Loaded before the C library into every process of a command (LD_PRELOAD), for benchmarks/faults.py:
 * which files have bytes that were not flushed to the disk, a clock that jumps, and a rename or a flush that fails. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 65536

struct slot { uint64_t inode, synced, dirty; };
struct failing { int64_t calls, first, until, error; };  /* calls so far; from the first on, those before `until` fail */
struct control {
  int64_t jump_seconds;
  uint64_t tracking;
  struct failing renames, flushes;
  struct slot slots[SLOTS];
};

static struct control *control;

__attribute__((constructor)) static void attach(void) {
  const char *path = getenv("FAULTS_CONTROL");
  int file = path ? open(path, O_RDWR) : -1;
  if (file < 0) return;
  void *there = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  if (there != MAP_FAILED) control = there;
  close(file);
}

static struct slot *slot_of(uint64_t inode) {
  for (uint64_t step = 0; step < SLOTS; step++) {
    struct slot *one = &control->slots[(inode * 2654435761u + step) % SLOTS];
    uint64_t none = 0;
    if (__atomic_load_n(&one->inode, __ATOMIC_SEQ_CST) == inode) return one;
    if (__atomic_compare_exchange_n(&one->inode, &none, inode, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) return one;
    if (none == inode) return one;
  }
  return NULL;
}

static void before_write(int file) {
  struct stat state;
  if (!control || !control->tracking || fstat(file, &state) || !S_ISREG(state.st_mode)) return;
  struct slot *one = slot_of(state.st_ino);
  if (one && !one->dirty) {
    one->synced = state.st_size;  /* what was there before lies on the disk */
    one->dirty = 1;
  }
}

static void after_sync(int file) {
  struct stat state;
  if (!control || !control->tracking || fstat(file, &state) || !S_ISREG(state.st_mode)) return;
  struct slot *one = slot_of(state.st_ino);
  if (one) one->dirty = 0;
}

static int fails(struct failing *kind) {
  int64_t call = __atomic_add_fetch(&kind->calls, 1, __ATOMIC_SEQ_CST);
  if (call < kind->first || call >= kind->until) return 0;
  errno = (int)kind->error;
  return 1;
}

static int is_ours(const char *path) { return control && path && strstr(path, "/work/disk/"); }

static int flush_fails(int file) {
  char link[32], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = control ? readlink(link, path, sizeof path - 1) : -1;
  if (length < 0) return 0;
  path[length] = 0;
  return is_ours(path) && fails(&control->flushes);
}

#define REAL(name) \
  static __typeof__(&name) real; \
  if (!real) real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)

ssize_t write(int f, const void *b, size_t n) { REAL(write); before_write(f); return real(f, b, n); }
ssize_t pwrite(int f, const void *b, size_t n, off_t o) { REAL(pwrite); before_write(f); return real(f, b, n, o); }
ssize_t pwrite64(int f, const void *b, size_t n, off64_t o) { REAL(pwrite64); before_write(f); return real(f, b, n, o); }
ssize_t writev(int f, const struct iovec *v, int n) { REAL(writev); before_write(f); return real(f, v, n); }
int ftruncate(int f, off_t n) { REAL(ftruncate); before_write(f); return real(f, n); }
int ftruncate64(int f, off64_t n) { REAL(ftruncate64); before_write(f); return real(f, n); }
ssize_t sendfile(int f, int g, off_t *o, size_t n) {
  static ssize_t (*real)(int, int, off_t *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "sendfile");
  before_write(f);
  return real(f, g, o, n);
}
ssize_t sendfile64(int f, int g, off64_t *o, size_t n) {
  static ssize_t (*real)(int, int, off64_t *, size_t);
  if (!real) real = dlsym(RTLD_NEXT, "sendfile64");
  before_write(f);
  return real(f, g, o, n);
}
int fsync(int f) { REAL(fsync); if (flush_fails(f)) return -1; int r = real(f); if (!r) after_sync(f); return r; }
int fdatasync(int f) { REAL(fdatasync); if (flush_fails(f)) return -1; int r = real(f); if (!r) after_sync(f); return r; }

int rename(const char *a, const char *b) { REAL(rename); return is_ours(b) && fails(&control->renames) ? -1 : real(a, b); }
int link(const char *a, const char *b) { REAL(link); return is_ours(b) && fails(&control->renames) ? -1 : real(a, b); }
int linkat(int d, const char *a, int e, const char *b, int f) {
  REAL(linkat);
  return is_ours(b) && fails(&control->renames) ? -1 : real(d, a, e, b, f);
}
int renameat2(int d, const char *a, int e, const char *b, unsigned f) {
  REAL(renameat2);
  return is_ours(b) && fails(&control->renames) ? -1 : real(d, a, e, b, f);
}

int clock_gettime(clockid_t c, struct timespec *t) {
  REAL(clock_gettime);
  int r = real(c, t);
  if (!r && control && c == CLOCK_REALTIME) t->tv_sec += control->jump_seconds;
  return r;
}
int gettimeofday(struct timeval *restrict t, void *restrict z) {
  static int (*real)(struct timeval *, void *);
  if (!real) real = dlsym(RTLD_NEXT, "gettimeofday");
  int r = real(t, z);
  if (!r && t && control) t->tv_sec += control->jump_seconds;
  return r;
}
time_t time(time_t *t) {
  static time_t (*real)(time_t *);
  if (!real) real = dlsym(RTLD_NEXT, "time");
  time_t r = real(NULL) + (control ? control->jump_seconds : 0);
  if (t) *t = r;
  return r;
}
