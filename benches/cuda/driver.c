// A CUDA driver that runs nothing: it says that there is an H200, keeps memory on the host, takes
// kernels, and writes down what it is asked for. So it shows without a GPU what lbam-desk would have
// one do: kernels as NVRTC compiled them, launches, copies, waits, and whether the recording of a step
// asks for anything that CUDA refuses meanwhile. All numbers stay what memory begins with, zero, but for
// the sum by which lbam-desk finds out whether a GPU computes, the first that is copied to the host.
//
//   $LBAM_TRACE/trace     a line a call; those of a recording begin with C
//   $LBAM_TRACE/N.ptx     module N
//   $LBAM_MEMORY          the bytes that it has; without, as many as are asked for
//
// Functions and numbers are those of NVIDIA's cuda.h; what cubecl-cuda does not call is left out.
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { SUCCESS = 0, OUT_OF_MEMORY = 2, CAPTURE_UNSUPPORTED = 900 };
typedef uint64_t Pointer;
typedef struct { int module; char name[512]; } Function;

static const char *folder;
static FILE *trace;
static int recording, kernels, modules;
static intptr_t handles = 0x100;

__attribute__((constructor)) static void open_trace(void) {
    char path[4096];
    folder = getenv("LBAM_TRACE");
    if (!folder) { fputs("driver.c: LBAM_TRACE names no folder\n", stderr); exit(2); }
    snprintf(path, sizeof path, "%s/trace", folder);
    trace = fopen(path, "w");
    if (!trace) { perror(path); exit(2); }
}

// One fprintf a line: stdio's lock keeps lines of several threads whole.
static int say(const char *format, ...) {
    char line[1024];
    va_list values;
    va_start(values, format);
    vsnprintf(line, sizeof line, format, values);
    va_end(values);
    fprintf(trace, "%c %s\n", recording ? 'C' : '-', line);
    fflush(trace);
    return SUCCESS;
}

static int refused(const char *call) {
    if (!recording) return SUCCESS;
    say("REFUSED %s", call);
    return CAPTURE_UNSUPPORTED;
}

static int new_handle(void **handle) { *handle = (void *)++handles; return SUCCESS; }

int cuInit(unsigned flags) { return SUCCESS; }
int cuDriverGetVersion(int *version) { *version = 13000; return SUCCESS; }
int cuDeviceGetCount(int *count) { *count = 1; return SUCCESS; }
int cuDeviceGet(int *device, int number) { *device = number; return SUCCESS; }
int cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "NVIDIA H200"); return SUCCESS; }
int cuDeviceGetPCIBusId(char *id, int size, int device) { snprintf(id, size, "0000:01:00.0"); return SUCCESS; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 140ull << 30; return SUCCESS; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    switch (attribute) {
    case 1: case 2: case 3: *value = 1024; break;  // threads of a block, along x and y
    case 4: *value = 64; break;                    // along z
    case 5: *value = 0x7fffffff; break;            // blocks along x
    case 6: case 7: *value = 65535; break;         // along y and z
    case 10: *value = 32; break;                   // threads of a warp
    case 16: *value = 132; break;                  // multiprocessors
    case 75: *value = 9; break;                    // compute capability
    case 76: *value = 0; break;
    case 97: *value = 232448; break;               // shared memory of a block
    default: *value = 1; say("attribute %d is not known", attribute);
    }
    return SUCCESS;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { return new_handle(context); }
int cuCtxSetCurrent(void *context) { return SUCCESS; }
int cuCtxGetStreamPriorityRange(int *least, int *greatest) { *least = *greatest = 0; return SUCCESS; }
int cuGetErrorName(int error, const char **name) { *name = "an error of driver.c"; return SUCCESS; }
int cuGetErrorString(int error, const char **text) { *text = "driver.c refused it"; return SUCCESS; }

int cuStreamCreate(void **stream, unsigned flags) { return new_handle(stream); }
int cuStreamCreateWithPriority(void **stream, unsigned flags, int priority) { return new_handle(stream); }
int cuStreamDestroy_v2(void *stream) { return SUCCESS; }
int cuStreamSynchronize(void *stream) { say("wait for stream"); return refused("cuStreamSynchronize"); }
int cuStreamWaitEvent(void *stream, void *event, unsigned flags) { return say("stream waits"); }
int cuEventCreate(void **event, unsigned flags) { return new_handle(event); }
int cuEventDestroy_v2(void *event) { return SUCCESS; }
int cuEventRecord(void *event, void *stream) { return say("event"); }
int cuEventSynchronize(void *event) { say("wait for event"); return refused("cuEventSynchronize"); }
int cuEventElapsedTime_v2(float *milliseconds, void *start, void *end) { *milliseconds = 1; return SUCCESS; }

// Never given back: pages that nobody writes to take nothing.
static void *pages(size_t bytes) {
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}
int cuMemAlloc_v2(Pointer *pointer, size_t bytes) {
    static size_t taken;
    const char *memory = getenv("LBAM_MEMORY");
    taken += bytes;
    if (memory && taken > strtoull(memory, NULL, 10)) return OUT_OF_MEMORY;
    *pointer = (Pointer)pages(bytes);
    say("take %zu", bytes);
    return *pointer ? refused("cuMemAlloc") : OUT_OF_MEMORY;
}
int cuMemAllocAsync(Pointer *pointer, size_t bytes, void *stream) { return cuMemAlloc_v2(pointer, bytes); }
int cuMemAllocHost_v2(void **memory, size_t bytes) {
    *memory = pages(bytes);
    say("take %zu of the host", bytes);
    return *memory ? refused("cuMemAllocHost") : OUT_OF_MEMORY;
}
int cuMemFree_v2(Pointer pointer) { say("give back"); return refused("cuMemFree"); }
int cuMemFreeAsync(Pointer pointer, void *stream) { return cuMemFree_v2(pointer); }
int cuMemFreeHost(void *memory) { return SUCCESS; }
int cuMemcpyHtoDAsync_v2(Pointer to, const void *from, size_t bytes, void *stream) {
    memcpy((void *)to, from, bytes);
    // A replay would copy again, from memory of the host that is another's by then.
    say("copy %zu to device", bytes);
    return refused("cuMemcpyHtoDAsync");
}
int cuMemcpyDtoHAsync_v2(void *to, Pointer from, size_t bytes, void *stream) {
    static const float sum[] = {1.75f, 3.0f};
    static int answered;
    memcpy(to, (void *)from, bytes);
    if (!answered && bytes == sizeof sum) memcpy(to, sum, bytes);
    answered = 1;
    say("copy %zu to host", bytes);
    return refused("cuMemcpyDtoHAsync");
}
int cuMemcpyDtoDAsync_v2(Pointer to, Pointer from, size_t bytes, void *stream) {
    memmove((void *)to, (void *)from, bytes);
    return say("copy %zu on device", bytes);
}
typedef struct {
    size_t from_x, from_y; int from_type; const void *from_host; Pointer from_device; void *from_array; size_t from_pitch;
    size_t to_x, to_y; int to_type; void *to_host; Pointer to_device; void *to_array; size_t to_pitch;
    size_t width, height;
} Copy2D;
int cuMemcpy2DAsync_v2(const Copy2D *copy, void *stream) {
    const int host = 1;
    const char *from = copy->from_type == host ? copy->from_host : (void *)copy->from_device;
    char *to = copy->to_type == host ? copy->to_host : (void *)copy->to_device;
    for (size_t y = 0; y < copy->height; y++) memcpy(to + y * copy->to_pitch, from + y * copy->from_pitch, copy->width);
    say("copy %zux%zu %s", copy->width, copy->height, copy->to_type == host ? "to host" : "to device");
    return refused("cuMemcpy2DAsync");
}

int cuModuleLoadData(void **module, const void *image) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%d.ptx", folder, ++modules);
    FILE *file = fopen(path, "w");
    if (!file || fputs(image, file) < 0 || fclose(file)) { perror(path); exit(2); }
    *module = (void *)(intptr_t)modules;
    return SUCCESS;
}
int cuModuleGetFunction(Function **function, void *module, const char *name) {
    *function = malloc(sizeof **function);
    (*function)->module = (intptr_t)module;
    snprintf((*function)->name, sizeof (*function)->name, "%s", name);
    return SUCCESS;
}
int cuFuncSetAttribute(Function *function, int attribute, int value) { return SUCCESS; }
int cuLaunchKernel(Function *function, unsigned x, unsigned y, unsigned z, unsigned wide, unsigned high,
                   unsigned deep, unsigned shared, void *stream, void **arguments, void **more) {
    kernels += recording;
    return say("launch %d %s %u %u %u", function->module, function->name, x, y, z);
}

int cuStreamBeginCapture_v2(void *stream, int mode) {
    say("begin recording");
    recording = 1;
    kernels = 0;
    return SUCCESS;
}
int cuStreamEndCapture(void *stream, void **graph) {
    recording = 0;
    say("recorded %d kernels", kernels);
    return new_handle(graph);
}
int cuGraphInstantiateWithFlags(void **executable, void *graph, unsigned long long flags) { return new_handle(executable); }
int cuGraphUpload(void *executable, void *stream) { return SUCCESS; }
int cuGraphLaunch(void *executable, void *stream) { return say("replay"); }
int cuGraphDestroy(void *graph) { return SUCCESS; }
int cuGraphExecDestroy(void *executable) { return SUCCESS; }
// Memory nodes are what is looked for, and taking memory is refused above.
int cuGraphGetNodes(void *graph, void **nodes, size_t *count) { *count = 0; return SUCCESS; }
int cuGraphNodeGetType(void *node, int *type) { *type = 0; return SUCCESS; }
