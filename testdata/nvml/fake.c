/* A stand-in for libnvidia-ml.so.1: it answers from the file that FAKE_NVML
 * names. A line is "init CODE", "driver VERSION" or "card KEY=VALUE …"; of the
 * values, "na" is NOT_SUPPORTED, "perm" NO_PERMISSION, "lost", "reset" and
 * "timeout" and "unknown" are those faults, and "hang" never returns.
 *
 * Build: cc -shared -fPIC -o libnvidia-ml.so.1 fake.c
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SUCCESS = 0, NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_FOUND = 6, TIMEOUT = 10, LOST = 15, RESET = 16, UNKNOWN = 999 };
enum { MAX = 16 };

static char cards[MAX][1024];
static char slices[MAX][1024]; /* MIG instances: of every card that has mig=1 */
static int ncards, nslices, init_code;
static char driver[64];

int nvmlInit_v2(void) {
	char line[1024];
	FILE *f = fopen(getenv("FAKE_NVML") ? getenv("FAKE_NVML") : "", "r");
	ncards = nslices = init_code = 0;
	if (!f) return 9;
	while (fgets(line, sizeof line, f)) {
		line[strcspn(line, "\n")] = 0;
		sscanf(line, "init %d", &init_code);
		sscanf(line, "driver %63s", driver);
		if (!strncmp(line, "card ", 5) && ncards < MAX) strcpy(cards[ncards++], line + 4);
		if (!strncmp(line, "slice ", 6) && nslices < MAX) strcpy(slices[nslices++], line + 5);
	}
	fclose(f);
	if (init_code == -1) for (;;) pause();
	return init_code;
}
int nvmlShutdown(void) { return SUCCESS; }

const char *nvmlErrorString(int code) {
	switch (code) {
	case 4: return "Insufficient Permissions";
	case 9: return "Driver Not Loaded";
	case 15: return "GPU is lost";
	case 16: return "GPU requires reset";
	case 17: return "Operating System Blocking";
	case 18: return "Driver/library version mismatch";
	case 999: return "Unknown Error";
	}
	return "Error";
}

/* get reads a value of a card, or the fault in its place. */
static int get(void *dev, const char *key, char *out, size_t size) {
	char want[64];
	snprintf(want, sizeof want, " %s=", key);
	char *at = strstr((char *)dev, want);
	if (!at) return NOT_SUPPORTED;
	at += strlen(want);
	size_t n = strcspn(at, " ");
	if (n >= size) n = size - 1;
	memcpy(out, at, n);
	out[n] = 0;
	if (!strcmp(out, "na")) return NOT_SUPPORTED;
	if (!strcmp(out, "perm")) return NO_PERMISSION;
	if (!strcmp(out, "lost")) return LOST;
	if (!strcmp(out, "reset")) return RESET;
	if (!strcmp(out, "unknown")) return UNKNOWN;
	if (!strcmp(out, "timeout")) return TIMEOUT;
	if (!strcmp(out, "hang")) for (;;) pause();
	return SUCCESS;
}
static int number(void *dev, const char *key, unsigned long long *v) {
	char text[64];
	int r = get(dev, key, text, sizeof text);
	if (r == SUCCESS) *v = strtoull(text, 0, 0);
	return r;
}

int nvmlSystemGetDriverVersion(char *out, unsigned n) { snprintf(out, n, "%s", driver); return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *n) { *n = ncards; return SUCCESS; }
int nvmlDeviceGetHandleByIndex_v2(unsigned i, void **dev) {
	char text[64];
	*dev = cards[i];
	int r = get(*dev, "handle", text, sizeof text);
	return r == NOT_SUPPORTED ? SUCCESS : r;
}
int nvmlDeviceGetName(void *dev, char *out, unsigned n) {
	int r = get(dev, "name", out, n);
	for (char *p = out; r == SUCCESS && *p; p++) if (*p == '_') *p = ' ';
	return r;
}
int nvmlDeviceGetUUID(void *dev, char *out, unsigned n) { return get(dev, "uuid", out, n); }

struct memory { unsigned long long total, free, used; };
struct memory_v2 { unsigned version; unsigned long long total, reserved, free, used; };
static int memory(void *dev, unsigned long long *total, unsigned long long *used, unsigned long long *free_) {
	int r = number(dev, "total", total);
	if (r == SUCCESS) r = number(dev, "used", used);
	if (r == SUCCESS) r = number(dev, "free", free_);
	*total <<= 20; *used <<= 20; *free_ <<= 20;
	return r;
}
int nvmlDeviceGetMemoryInfo(void *dev, struct memory *m) { return memory(dev, &m->total, &m->used, &m->free); }
#ifndef OLD_DRIVER
int nvmlDeviceGetMemoryInfo_v2(void *dev, struct memory_v2 *m) { return memory(dev, &m->total, &m->used, &m->free); }
int nvmlDeviceGetRemappedRows(void *dev, unsigned *corr, unsigned *unc, unsigned *pending, unsigned *failed) {
	unsigned long long p = 0, f = 0;
	int r = number(dev, "remap_pending", &p);
	if (r == SUCCESS) r = number(dev, "remap_failed", &f);
	*corr = *unc = 0; *pending = p; *failed = f;
	return r;
}
struct field_value { unsigned field, scope; long long timestamp, latency; int type, ret; union { unsigned ui; unsigned long long ull; } value; };
/* A driver answers for the fields that it knows: 570 for the recovery action, 535 for the two before it. */
int nvmlDeviceGetFieldValues(void *dev, int n, struct field_value *v) {
	for (int i = 0; i < n; i++) {
		unsigned long long got = 0;
		const char *key = v[i].field == 230 ? "recovery" : v[i].field == 226 ? "reset_required" : v[i].field == 227 ? "drain_reset" : "";
		v[i].ret = number(dev, key, &got);
		v[i].type = 1;
		v[i].value.ull = ~0ull; /* only the type's bytes count */
		v[i].value.ui = got;
	}
	return SUCCESS;
}
int nvmlDeviceGetMigMode(void *dev, unsigned *now, unsigned *pending) {
	unsigned long long v = 0;
	int r = number(dev, "mig", &v);
	*now = *pending = v;
	return r;
}
int nvmlDeviceGetMaxMigDeviceCount(void *dev, unsigned *n) { *n = 7; return SUCCESS; }
int nvmlDeviceGetMigDeviceHandleByIndex(void *dev, unsigned i, void **mig) {
	if ((int)i >= nslices) return NOT_FOUND;
	*mig = slices[i];
	return SUCCESS;
}
#endif

struct utilization { unsigned gpu, memory; };
int nvmlDeviceGetUtilizationRates(void *dev, struct utilization *u) {
	unsigned long long v = 0;
	int r = number(dev, "util", &v);
	u->gpu = v; u->memory = 0;
	return r;
}
#define ONE(function, key, type) int function(void *dev, type *out) { unsigned long long v = 0; int r = number(dev, key, &v); *out = v; return r; }
int nvmlDeviceGetTemperature(void *dev, int sensor, unsigned *out) { unsigned long long v = 0; int r = number(dev, "temp", &v); *out = v; return r; }
ONE(nvmlDeviceGetPowerUsage, "power", unsigned)
ONE(nvmlDeviceGetRetiredPagesPendingStatus, "retired", unsigned)
ONE(nvmlDeviceGetCurrentClocksThrottleReasons, "throttle", unsigned long long)
int nvmlDeviceGetTotalEccErrors(void *dev, int kind, int counter, unsigned long long *out) { *out = 0; return number(dev, "ecc", out); }
