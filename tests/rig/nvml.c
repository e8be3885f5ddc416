/* A simulated libnvidia-ml.so.1: GPUs whose power is a known function of the monotonic clock, and their faults.
 *
 * It reads the file `nvml.control`, which lies beside it, and reads it anew whenever that was replaced. A line is a key
 * and its values; `gpu` begins the next GPU. All times are seconds of CLOCK_MONOTONIC, all powers watts.
 *
 *   trace PATH                     each call appends "PID FUNCTION" to this file
 *   error FUNCTION CODE            this function answers with this code: of all GPUs, or within `gpu` of that one
 *   gpu                            with, each once unless said otherwise:
 *     uuid TEXT, name TEXT, memory BYTES, limit MILLIWATTS (0: refused), mig MODE (-1: refused), architecture N (-1)
 *     zero T                       where the curve's energy counts from
 *     curve constant W             curves add up; as many as wanted
 *     curve square LOW HIGH PERIOD DUTY
 *     curve sine MEAN AMPLITUDE PERIOD
 *     curve steps N T W T W ...    this power from this time on; before the first time, none
 *     counter MODE START RENEWAL   ok, refused, zero, stuck, garbage; the value at zero [J]; time between renewals
 *     counter_stops T              it stands still from then on
 *     counter_reset T              it counts from 0 again
 *     power MODE RENEWAL MEAN      ok, refused, zero, garbage; time between renewals; time that a value is a mean of
 *     samples COUNT EVERY          the driver's buffer; 0: not supported
 *     samples_stop T               the buffer gets no new ones
 *     gain G                       what all sensors show over the truth
 *     lost T, hang T               gone, or answering no more, from then on
 *     back T                       there again
 *
 * Build: gcc -shared -fPIC -O1 -o libnvidia-ml.so.1 nvml.c -lm -lpthread -ldl
 * A function is left out of the library with -DNAME=absent_NAME.
 */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { OK = 0, UNINITIALIZED = 1, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, SMALL = 7, NO_DRIVER = 9, LOST = 15 };
enum { MOST_GPUS = 16, MOST_CURVES = 8, MOST_STEPS = 64, MOST_ERRORS = 32, TEXT = 128, PATH = 4096 };
enum { FIELD_ENERGY = 83, FIELD_POWER_AVERAGE = 185, FIELD_POWER_INSTANT = 186, TYPE_UINT = 1, TYPE_ULONGLONG = 3 };

typedef int Return;
typedef void *Device;
typedef struct { unsigned long long total, free, used; } Memory;
typedef struct { unsigned int gpu, memory; } Utilization;
typedef union { double d; unsigned int ui; unsigned long ul; unsigned long long ull; long long sll; int si; } Value;
typedef struct { unsigned long long at_us; Value value; } Sample;
typedef struct {
    unsigned int field, scope;
    long long at_us, latency_us;
    unsigned int type;
    Return result;
    Value value;
} Field;

typedef struct { char kind[16]; double a[4]; int count; double at[MOST_STEPS], watts[MOST_STEPS]; } Curve;
typedef struct { char function[TEXT]; int code; } Error;
typedef struct {
    char uuid[TEXT], name[TEXT];
    unsigned long long memory;
    unsigned int limit;
    int mig, architecture, curves, errors, samples;
    double zero, gain, lost, hang, back;
    Curve curve[MOST_CURVES];
    Error error[MOST_ERRORS];
    char counter[16], power[16];
    double start, counter_renewal, counter_stops, counter_reset, power_renewal, power_mean, every, samples_stop;
} Gpu;
typedef struct { char trace[PATH]; int gpus, errors; Gpu gpu[MOST_GPUS]; Error error[MOST_ERRORS]; } Control;

static Control control;
static struct stat known;
static int opened;
static double wall_minus_monotonic;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static double clock_of(clockid_t which) {
    struct timespec now;
    clock_gettime(which, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double now_s(void) { return clock_of(CLOCK_MONOTONIC); }

/* The control file. */

static void rest_of(const char *line, char *to, size_t size) {
    const char *text = strchr(line, ' ');
    snprintf(to, size, "%s", text ? text + 1 : "");
    to[strcspn(to, "\n")] = 0;
}

static void read_curve(Gpu *gpu, const char *text) {
    Curve *curve = &gpu->curve[gpu->curves];
    int used = 0, more = 0;
    if (gpu->curves == MOST_CURVES || sscanf(text, "%15s%n", curve->kind, &used) != 1) return;
    text += used;
    if (strcmp(curve->kind, "steps") == 0) {
        if (sscanf(text, "%d%n", &curve->count, &used) != 1 || curve->count > MOST_STEPS) return;
        text += used;
        for (int i = 0; i < curve->count; i++) {
            if (sscanf(text, "%lf %lf%n", &curve->at[i], &curve->watts[i], &used) != 2) return;
            text += used;
        }
    } else {
        while (more < 4 && sscanf(text, "%lf%n", &curve->a[more], &used) == 1) { text += used; more++; }
    }
    gpu->curves++;
}

static void read_error(Error *errors, int *count, const char *text) {
    if (*count < MOST_ERRORS && sscanf(text, "%127s %d", errors[*count].function, &errors[*count].code) == 2) (*count)++;
}

static void read_gpu_line(Gpu *gpu, const char *key, const char *line) {
    char text[PATH];
    rest_of(line, text, sizeof text);
    double number = atof(text);
    if (!strcmp(key, "uuid")) snprintf(gpu->uuid, TEXT, "%.*s", TEXT - 1, text);
    else if (!strcmp(key, "name")) snprintf(gpu->name, TEXT, "%.*s", TEXT - 1, text);
    else if (!strcmp(key, "memory")) gpu->memory = strtoull(text, NULL, 10);
    else if (!strcmp(key, "limit")) gpu->limit = (unsigned int)strtoul(text, NULL, 10);
    else if (!strcmp(key, "mig")) gpu->mig = atoi(text);
    else if (!strcmp(key, "architecture")) gpu->architecture = atoi(text);
    else if (!strcmp(key, "zero")) gpu->zero = number;
    else if (!strcmp(key, "curve")) read_curve(gpu, text);
    else if (!strcmp(key, "counter")) sscanf(text, "%15s %lf %lf", gpu->counter, &gpu->start, &gpu->counter_renewal);
    else if (!strcmp(key, "counter_stops")) gpu->counter_stops = number;
    else if (!strcmp(key, "counter_reset")) gpu->counter_reset = number;
    else if (!strcmp(key, "power")) sscanf(text, "%15s %lf %lf", gpu->power, &gpu->power_renewal, &gpu->power_mean);
    else if (!strcmp(key, "samples")) sscanf(text, "%d %lf", &gpu->samples, &gpu->every);
    else if (!strcmp(key, "samples_stop")) gpu->samples_stop = number;
    else if (!strcmp(key, "gain")) gpu->gain = number;
    else if (!strcmp(key, "lost")) gpu->lost = number;
    else if (!strcmp(key, "hang")) gpu->hang = number;
    else if (!strcmp(key, "back")) gpu->back = number;
    else if (!strcmp(key, "error")) read_error(gpu->error, &gpu->errors, text);
}

static void read_control(FILE *file) {
    char line[PATH], key[TEXT];
    memset(&control, 0, sizeof control);
    while (fgets(line, sizeof line, file)) {
        if (sscanf(line, "%127s", key) != 1) continue;
        if (!strcmp(key, "gpu") && control.gpus < MOST_GPUS) {
            Gpu *gpu = &control.gpu[control.gpus++];
            gpu->gain = 1.0;
            gpu->lost = gpu->hang = gpu->back = gpu->counter_stops = gpu->counter_reset = gpu->samples_stop = INFINITY;
        } else if (control.gpus > 0) {
            read_gpu_line(&control.gpu[control.gpus - 1], key, line);
        } else if (!strcmp(key, "trace")) {
            rest_of(line, control.trace, sizeof control.trace);
        } else if (!strcmp(key, "error")) {
            char text[PATH];
            rest_of(line, text, sizeof text);
            read_error(control.error, &control.errors, text);
        }
    }
}

static int refresh(void) {
    static char path[PATH];
    if (!path[0]) {
        Dl_info info;
        if (!dladdr((void *)refresh, &info) || !realpath(info.dli_fname, path)) return 0;
        char *slash = strrchr(path, '/');
        if (!slash || (size_t)(slash - path) > sizeof path - 32) return 0;
        strcpy(slash + 1, "nvml.control");
    }
    struct stat found;
    if (stat(path, &found) != 0) return 0;
    if (found.st_ino == known.st_ino && found.st_mtim.tv_sec == known.st_mtim.tv_sec &&
        found.st_mtim.tv_nsec == known.st_mtim.tv_nsec)
        return 1;
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    read_control(file);
    fclose(file);
    known = found;
    return 1;
}

/* Power and energy of a GPU. */

static double curve_w(const Curve *curve, double since, double at) {
    const double *a = curve->a;
    if (!strcmp(curve->kind, "constant")) return a[0];
    if (!strcmp(curve->kind, "square")) {
        double turns = since / a[2];
        return turns - floor(turns) < a[3] ? a[1] : a[0];
    }
    if (!strcmp(curve->kind, "sine")) return a[0] + a[1] * sin(2.0 * M_PI * since / a[2]);
    double watts = 0.0;
    for (int i = 0; i < curve->count && curve->at[i] <= at; i++) watts = curve->watts[i];
    return watts;
}

static double curve_j(const Curve *curve, double since, double at) {
    const double *a = curve->a;
    if (!strcmp(curve->kind, "constant")) return a[0] * since;
    if (!strcmp(curve->kind, "square")) {
        double turns = since / a[2], whole = floor(turns);
        return a[0] * since + (a[1] - a[0]) * a[2] * (whole * a[3] + fmin(turns - whole, a[3]));
    }
    if (!strcmp(curve->kind, "sine"))
        return a[0] * since + a[1] * a[2] / (2.0 * M_PI) * (1.0 - cos(2.0 * M_PI * since / a[2]));
    double joules = 0.0;
    for (int i = 0; i < curve->count && curve->at[i] < at; i++)
        joules += curve->watts[i] * (fmin(i + 1 < curve->count ? curve->at[i + 1] : INFINITY, at) - curve->at[i]);
    return joules;
}

static double watts_at(const Gpu *gpu, double at) {
    double watts = 0.0;
    for (int i = 0; i < gpu->curves; i++) watts += curve_w(&gpu->curve[i], at - gpu->zero, at);
    return gpu->gain * watts;
}

static double joules_at(const Gpu *gpu, double at) {
    double joules = 0.0;
    for (int i = 0; i < gpu->curves; i++) joules += curve_j(&gpu->curve[i], at - gpu->zero, at);
    return gpu->gain * joules;
}

static double renewed(double at, double every) { return every > 0.0 ? floor(at / every) * every : at; }

static double mean_w(const Gpu *gpu, double at, double mean) {
    return mean > 0.0 ? (joules_at(gpu, at) - joules_at(gpu, at - mean)) / mean : watts_at(gpu, at);
}

static Return power_mw(const Gpu *gpu, double mean, unsigned int *milliwatts) {
    if (!strcmp(gpu->power, "refused")) return NOT_SUPPORTED;
    if (!strcmp(gpu->power, "zero")) *milliwatts = 0;
    else if (!strcmp(gpu->power, "garbage")) *milliwatts = 0xFFFFFFFFu;
    else *milliwatts = (unsigned int)lrint(1e3 * mean_w(gpu, renewed(now_s(), gpu->power_renewal), mean));
    return OK;
}

static Return energy_mj(const Gpu *gpu, unsigned long long *millijoules) {
    if (!strcmp(gpu->counter, "refused")) return NOT_SUPPORTED;
    double at = fmin(renewed(now_s(), gpu->counter_renewal), gpu->counter_stops);
    double joules = gpu->start + joules_at(gpu, at);
    if (at >= gpu->counter_reset) joules = joules_at(gpu, at) - joules_at(gpu, gpu->counter_reset);
    if (!strcmp(gpu->counter, "stuck")) joules = gpu->start;
    if (!strcmp(gpu->counter, "zero")) joules = 0.0;
    *millijoules = !strcmp(gpu->counter, "garbage") ? ~0ULL : (unsigned long long)llrint(1e3 * joules);
    return OK;
}

/* What every call does first. */

static Return code_of(const Error *errors, int count, const char *function) {
    for (int i = 0; i < count; i++)
        if (!strcmp(errors[i].function, function)) return errors[i].code;
    return OK;
}

static void note(const char *function) {
    char line[TEXT];
    if (!control.trace[0]) return;
    int file = open(control.trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) return;
    int length = snprintf(line, sizeof line, "%d %s\n", (int)getpid(), function);
    if (write(file, line, (size_t)length) < 0) line[0] = 0;
    close(file);
}

/* Takes the lock, which `leave` gives back; sets the GPU if a handle is given. */
static Return enter(const char *function, Device device, const Gpu **gpu) {
    for (;;) {
        pthread_mutex_lock(&lock);
        if (!refresh()) return NO_DRIVER;
        Return code = code_of(control.error, control.errors, function);
        if (code != OK) return code;
        if (!gpu) break;
        if (!opened) return UNINITIALIZED;
        size_t index = (size_t)device;
        if (index < 1 || index > (size_t)control.gpus) return INVALID;
        *gpu = &control.gpu[index - 1];
        double now = now_s();
        if (now < (*gpu)->back && now >= (*gpu)->lost) { note(function); return LOST; }
        code = code_of((*gpu)->error, (*gpu)->errors, function);
        if (code != OK) return code;
        if (now >= (*gpu)->back || now < (*gpu)->hang) break;
        pthread_mutex_unlock(&lock);
        usleep(5000);
    }
    note(function);
    return OK;
}

static Return leave(Return result) {
    pthread_mutex_unlock(&lock);
    return result;
}

#define FOR(NAME)                                                                                                      \
    const Gpu *gpu = NULL;                                                                                             \
    Return result = enter(NAME, device, &gpu);                                                                         \
    if (result != OK) return leave(result)

static Return put(const char *text, char *to, unsigned int size) {
    if (strlen(text) + 1 > size) return SMALL;
    strcpy(to, text);
    return OK;
}

/* The library. */

static Return open_library(const char *function) {
    Return result = enter(function, NULL, NULL);
    if (result == OK) {
        opened++;
        wall_minus_monotonic = clock_of(CLOCK_REALTIME) - now_s();
    }
    return leave(result);
}

Return nvmlInitWithFlags(unsigned int flags) { (void)flags; return open_library("nvmlInitWithFlags"); }
Return nvmlInit_v2(void) { return open_library("nvmlInit_v2"); }

Return nvmlShutdown(void) {
    Return result = enter("nvmlShutdown", NULL, NULL);
    if (result == OK && opened == 0) result = UNINITIALIZED;
    if (result == OK) opened--;
    return leave(result);
}

const char *nvmlErrorString(Return code) { return code == OK ? "Success" : "Simulated error"; }
Return nvmlSystemGetDriverVersion(char *to, unsigned int size) { return put("550.54.15", to, size); }
Return nvmlSystemGetNVMLVersion(char *to, unsigned int size) { return put("12.550.54.15", to, size); }
Return nvmlSystemGetCudaDriverVersion(int *version) { *version = 12040; return OK; }
Return nvmlSystemGetCudaDriverVersion_v2(int *version) { *version = 12040; return OK; }

Return nvmlDeviceGetCount_v2(unsigned int *count) {
    Return result = enter("nvmlDeviceGetCount_v2", NULL, NULL);
    if (result == OK && !opened) result = UNINITIALIZED;
    if (result == OK) *count = (unsigned int)control.gpus;
    return leave(result);
}

Return nvmlDeviceGetHandleByIndex_v2(unsigned int index, Device *found) {
    Device device = (Device)(size_t)(index + 1);
    FOR("nvmlDeviceGetHandleByIndex_v2");
    *found = device;
    return leave(OK);
}

Return nvmlDeviceGetHandleByUUID(const char *uuid, Device *found) {
    Return result = enter("nvmlDeviceGetHandleByUUID", NULL, NULL);
    if (result == OK) result = NOT_FOUND;
    for (int i = 0; result == NOT_FOUND && i < control.gpus; i++)
        if (!strcmp(control.gpu[i].uuid, uuid)) { *found = (Device)(size_t)(i + 1); result = OK; }
    return leave(result);
}

Return nvmlDeviceGetIndex(Device device, unsigned int *index) {
    FOR("nvmlDeviceGetIndex");
    *index = (unsigned int)(gpu - control.gpu);
    return leave(OK);
}

Return nvmlDeviceGetUUID(Device device, char *to, unsigned int size) {
    FOR("nvmlDeviceGetUUID");
    return leave(put(gpu->uuid, to, size));
}

Return nvmlDeviceGetName(Device device, char *to, unsigned int size) {
    FOR("nvmlDeviceGetName");
    return leave(put(gpu->name, to, size));
}

Return nvmlDeviceGetMemoryInfo(Device device, Memory *memory) {
    FOR("nvmlDeviceGetMemoryInfo");
    memory->total = gpu->memory;
    memory->used = gpu->memory / 2;
    memory->free = gpu->memory - memory->used;
    return leave(OK);
}

static Return limit(Device device, unsigned int *milliwatts, const char *function) {
    FOR(function);
    if (gpu->limit == 0) return leave(NOT_SUPPORTED);
    *milliwatts = gpu->limit;
    return leave(OK);
}

Return nvmlDeviceGetEnforcedPowerLimit(Device device, unsigned int *milliwatts) {
    return limit(device, milliwatts, "nvmlDeviceGetEnforcedPowerLimit");
}

Return nvmlDeviceGetPowerManagementLimit(Device device, unsigned int *milliwatts) {
    return limit(device, milliwatts, "nvmlDeviceGetPowerManagementLimit");
}

Return nvmlDeviceGetPowerManagementDefaultLimit(Device device, unsigned int *milliwatts) {
    return limit(device, milliwatts, "nvmlDeviceGetPowerManagementDefaultLimit");
}

Return nvmlDeviceGetPowerUsage(Device device, unsigned int *milliwatts) {
    FOR("nvmlDeviceGetPowerUsage");
    return leave(power_mw(gpu, gpu->power_mean, milliwatts));
}

Return nvmlDeviceGetTotalEnergyConsumption(Device device, unsigned long long *millijoules) {
    FOR("nvmlDeviceGetTotalEnergyConsumption");
    return leave(energy_mj(gpu, millijoules));
}

Return nvmlDeviceGetSamples(
    Device device, unsigned int kind, unsigned long long after_us, unsigned int *type, unsigned int *count, Sample *to
) {
    FOR("nvmlDeviceGetSamples");
    if (gpu->samples == 0 || kind != 0) return leave(NOT_SUPPORTED);
    double newest = floor(fmin(now_s(), gpu->samples_stop) / gpu->every);
    unsigned int found = 0;
    *type = TYPE_UINT;
    for (int i = gpu->samples - 1; i >= 0; i--) {
        double at = (newest - i) * gpu->every;
        unsigned long long at_us = (unsigned long long)llrint(1e6 * (at + wall_minus_monotonic));
        if (at_us <= after_us) continue;
        if (to) {
            if (found == *count) break;
            memset(&to[found], 0, sizeof *to);
            to[found].at_us = at_us;
            to[found].value.ui = (unsigned int)lrint(1e3 * mean_w(gpu, at, gpu->power_mean));
        }
        found++;
    }
    *count = found;
    return leave(found ? OK : NOT_FOUND);
}

Return nvmlDeviceGetFieldValues(Device device, int count, Field *fields) {
    FOR("nvmlDeviceGetFieldValues");
    for (int i = 0; i < count; i++) {
        Field *field = &fields[i];
        field->type = field->field == FIELD_ENERGY ? TYPE_ULONGLONG : TYPE_UINT;
        if (field->field == FIELD_ENERGY) field->result = energy_mj(gpu, &field->value.ull);
        else if (field->field == FIELD_POWER_INSTANT) field->result = power_mw(gpu, 0.0, &field->value.ui);
        else if (field->field == FIELD_POWER_AVERAGE) field->result = power_mw(gpu, 1.0, &field->value.ui);
        else field->result = NOT_SUPPORTED;
    }
    return leave(OK);
}

Return nvmlDeviceGetMigMode(Device device, unsigned int *current, unsigned int *pending) {
    FOR("nvmlDeviceGetMigMode");
    if (gpu->mig < 0) return leave(NOT_SUPPORTED);
    *current = *pending = (unsigned int)gpu->mig;
    return leave(OK);
}

Return nvmlDeviceGetArchitecture(Device device, unsigned int *architecture) {
    FOR("nvmlDeviceGetArchitecture");
    if (gpu->architecture < 0) return leave(NOT_SUPPORTED);
    *architecture = (unsigned int)gpu->architecture;
    return leave(OK);
}

/* What other tools ask for beside. */

static Return number(Device device, const char *function, unsigned int value, unsigned int *to) {
    FOR(function);
    *to = value;
    return leave(OK);
}

Return nvmlDeviceGetTemperature(Device device, unsigned int sensor, unsigned int *degrees) {
    (void)sensor;
    return number(device, "nvmlDeviceGetTemperature", 50, degrees);
}

Return nvmlDeviceGetPowerManagementMode(Device device, unsigned int *mode) {
    return number(device, "nvmlDeviceGetPowerManagementMode", 1, mode);
}

Return nvmlDeviceGetPersistenceMode(Device device, unsigned int *mode) {
    return number(device, "nvmlDeviceGetPersistenceMode", 1, mode);
}

Return nvmlDeviceGetComputeMode(Device device, unsigned int *mode) {
    return number(device, "nvmlDeviceGetComputeMode", 0, mode);
}

Return nvmlDeviceGetClockInfo(Device device, unsigned int kind, unsigned int *mhz) {
    (void)kind;
    return number(device, "nvmlDeviceGetClockInfo", 1410, mhz);
}

Return nvmlDeviceGetComputeRunningProcesses_v3(Device device, unsigned int *count, void *processes) {
    (void)processes;
    return number(device, "nvmlDeviceGetComputeRunningProcesses_v3", 0, count);
}

Return nvmlDeviceGetGraphicsRunningProcesses_v3(Device device, unsigned int *count, void *processes) {
    (void)processes;
    return number(device, "nvmlDeviceGetGraphicsRunningProcesses_v3", 0, count);
}

Return nvmlDeviceGetUtilizationRates(Device device, Utilization *rates) {
    FOR("nvmlDeviceGetUtilizationRates");
    double most = gpu->limit ? 1e-3 * gpu->limit : 400.0;
    rates->gpu = (unsigned int)fmin(100.0, 100.0 * watts_at(gpu, now_s()) / most);
    rates->memory = rates->gpu / 2;
    return leave(OK);
}
