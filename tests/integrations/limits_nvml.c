/* The rig's NVML with limits that can be set, kept in files beside the library so that they outlive every process.
 *
 *   limits.INDEX    two numbers: the power limit [mW], and the locked clock [MHz] or 0
 *
 * A GPU takes a quarter of its `limit` (nvml.control) to all of it, and clocks up to 1980 MHz. The file `denied` beside
 * the library has both refused. Built with -DRIG="path of the rig's nvml.c".
 */

#define nvmlDeviceGetPowerManagementLimit absent_GetPowerManagementLimit
#define nvmlDeviceGetPowerManagementLimitConstraints absent_GetPowerManagementLimitConstraints
#define nvmlDeviceSetPowerManagementLimit absent_SetPowerManagementLimit
#define nvmlDeviceSetGpuLockedClocks absent_SetGpuLockedClocks
#define nvmlDeviceResetGpuLockedClocks absent_ResetGpuLockedClocks
#define nvmlDeviceGetMaxClockInfo absent_GetMaxClockInfo
#include RIG
#undef nvmlDeviceGetPowerManagementLimit
#undef nvmlDeviceGetPowerManagementLimitConstraints
#undef nvmlDeviceSetPowerManagementLimit
#undef nvmlDeviceSetGpuLockedClocks
#undef nvmlDeviceResetGpuLockedClocks
#undef nvmlDeviceGetMaxClockInfo

enum { REFUSED = 4, MOST_MHZ = 1980 };

static void beside(char *to, const char *name) {
    static char folder[PATH];
    if (!folder[0]) {
        Dl_info info;
        if (dladdr((void *)beside, &info) && realpath(info.dli_fname, folder)) *strrchr(folder, '/') = 0;
    }
    snprintf(to, PATH + TEXT, "%s/%s", folder, name);
}

static void read_limits(const Gpu *gpu, unsigned int *milliwatts, unsigned int *mhz) {
    char path[PATH + TEXT], name[TEXT];
    snprintf(name, sizeof name, "limits.%d", (int)(gpu - control.gpu));
    beside(path, name);
    *milliwatts = gpu->limit;
    *mhz = 0;
    FILE *file = fopen(path, "r");
    if (!file) return;
    if (fscanf(file, "%u %u", milliwatts, mhz) != 2) *milliwatts = 0;
    fclose(file);
}

static Return write_limits(const Gpu *gpu, unsigned int milliwatts, unsigned int mhz) {
    char path[PATH + TEXT], denied[PATH + TEXT], name[TEXT];
    beside(denied, "denied");
    if (access(denied, F_OK) == 0) return REFUSED;
    snprintf(name, sizeof name, "limits.%d", (int)(gpu - control.gpu));
    beside(path, name);
    FILE *file = fopen(path, "w");
    if (!file) return 999;
    fprintf(file, "%u %u\n", milliwatts, mhz);
    fclose(file);
    return OK;
}

Return nvmlDeviceGetPowerManagementLimit(Device device, unsigned int *milliwatts) {
    unsigned int mhz;
    FOR("nvmlDeviceGetPowerManagementLimit");
    if (gpu->limit == 0) return leave(NOT_SUPPORTED);
    read_limits(gpu, milliwatts, &mhz);
    return leave(OK);
}

Return nvmlDeviceGetPowerManagementLimitConstraints(Device device, unsigned int *low, unsigned int *high) {
    FOR("nvmlDeviceGetPowerManagementLimitConstraints");
    if (gpu->limit == 0) return leave(NOT_SUPPORTED);
    *low = gpu->limit / 4;
    *high = gpu->limit;
    return leave(OK);
}

Return nvmlDeviceSetPowerManagementLimit(Device device, unsigned int milliwatts) {
    unsigned int was, mhz;
    FOR("nvmlDeviceSetPowerManagementLimit");
    if (milliwatts < gpu->limit / 4 || milliwatts > gpu->limit) return leave(INVALID);
    read_limits(gpu, &was, &mhz);
    return leave(write_limits(gpu, milliwatts, mhz));
}

Return nvmlDeviceGetMaxClockInfo(Device device, unsigned int kind, unsigned int *mhz) {
    FOR("nvmlDeviceGetMaxClockInfo");
    (void)kind;
    *mhz = MOST_MHZ;
    return leave(OK);
}

Return nvmlDeviceSetGpuLockedClocks(Device device, unsigned int low, unsigned int high) {
    unsigned int milliwatts, mhz;
    FOR("nvmlDeviceSetGpuLockedClocks");
    if (low > high) return leave(INVALID);
    read_limits(gpu, &milliwatts, &mhz);
    return leave(write_limits(gpu, milliwatts, high));
}

Return nvmlDeviceResetGpuLockedClocks(Device device) {
    unsigned int milliwatts, mhz;
    FOR("nvmlDeviceResetGpuLockedClocks");
    read_limits(gpu, &milliwatts, &mhz);
    return leave(write_limits(gpu, milliwatts, 0));
}
