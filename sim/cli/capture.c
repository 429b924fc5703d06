/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `vmxsim profile capture`: the profile of the machine it runs on, from CPUID and the MSR device of Linux.
 * Source: Intel SDM volume 2, "CPUID - CPU Identification"; volume 3, "VMX Capability Reporting Facility".
 */
#define _GNU_SOURCE /* sched_setaffinity */
#include "capture.h"

#include "vmxcore/defs/msr.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- The processor ---- */

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <sched.h>

static bool supported_host(void)
{
    return true;
}

/* False: the processor does not have the leaf. */
static bool read_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4])
{
    return __get_cpuid_count(leaf, subleaf, &registers[0], &registers[1], &registers[2],
                             &registers[3]) != 0;
}

/* CPUID answers for the processor that executes it. */
static bool run_on(uint32_t number)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(number, &set);
    return sched_setaffinity(0, sizeof set, &set) == 0;
}
#else
static bool supported_host(void)
{
    return false;
}

static bool read_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t registers[4])
{
    (void)leaf, (void)subleaf, (void)registers;
    return false;
}

static bool run_on(uint32_t number)
{
    (void)number;
    return false;
}
#endif

static bool has_vmx(void)
{
    uint32_t registers[4];
    return read_cpuid(1, 0, registers) && (registers[2] & VMXC_BIT(5));
}

static json_t *capture_cpuid(void)
{
    static const struct {
        uint32_t leaf, subleaf;
    } leaves[] = {
        {0, 0},          {1, 0},          {4, 0},          {6, 0},          {7, 0},
        {7, 1},          {7, 2},          {0xa, 0},        {0xd, 0},        {0xd, 1},
        {0x14, 0},       {0x14, 1},       {0x1c, 0},       {0x80000000, 0}, {0x80000001, 0},
        {0x80000002, 0}, {0x80000003, 0}, {0x80000004, 0}, {0x80000007, 0}, {0x80000008, 0},
    };
    json_t *const object = json_object();

    for (size_t i = 0; i < sizeof leaves / sizeof leaves[0]; i++) {
        uint32_t registers[4];
        char key[32];
        if (!read_cpuid(leaves[i].leaf, leaves[i].subleaf, registers))
            continue;
        json_t *const values = json_array();
        for (size_t j = 0; j < 4; j++)
            (void)json_array_append_new(values, cli_json_hex(registers[j]));
        (void)snprintf(key, sizeof key, "0x%" PRIx32 ".%" PRIx32, leaves[i].leaf,
                       leaves[i].subleaf);
        (void)json_object_set_new(object, key, values);
    }
    return object;
}

/* ---- MSRs ---- */

/* The device has each MSR at its index. A directory instead of it has a file of 8 bytes per MSR, named by the index. */
struct msr_source {
    int fd;
    bool directory;
    char path[256];
};

static const char *msr_advice(int error)
{
    if (error == ENOENT)
        return " (no such processor, or no driver: modprobe msr)";
    if (error == EACCES || error == EPERM)
        return " (run it as root; a kernel that is locked down refuses even root)";
    return "";
}

static enum cli_status msr_open(const char *directory, uint32_t number, struct msr_source *source)
{
    struct stat status;
    const int length = snprintf(source->path, sizeof source->path, "%s/%" PRIu32 "/msr",
                                directory != NULL ? directory : "/dev/cpu", number);
    if (length < 0 || (size_t)length >= sizeof source->path)
        return cli_complain("the path of the MSR device is too long");
    source->fd = open(source->path, O_RDONLY | O_CLOEXEC);
    if (source->fd < 0 || fstat(source->fd, &status) != 0) {
        const int error = errno;
        return cli_complain("%s: %s%s", source->path, strerror(error), msr_advice(error));
    }
    source->directory = S_ISDIR(status.st_mode);
    return CLI_OK;
}

/* False: errno says why. */
static bool msr_read(const struct msr_source *source, uint32_t index, uint64_t *value)
{
    char name[sizeof "ffffffff"];
    int fd = source->fd;

    (void)snprintf(name, sizeof name, "%" PRIx32, index);
    if (source->directory)
        fd = openat(source->fd, name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const ssize_t bytes = pread(fd, value, sizeof *value, source->directory ? 0 : (off_t)index);
    const int error = bytes < 0 ? errno : EIO;
    if (source->directory)
        (void)close(fd);
    errno = error;
    return bytes == (ssize_t)sizeof *value;
}

/* An MSR that the processor does not have reads as an I/O error; IA32_VMX_BASIC it must have. */
static enum cli_status add_msr(const struct msr_source *source, uint32_t index, json_t *object)
{
    uint64_t value;
    char key[sizeof "0xffffffff"];

    if (!msr_read(source, index, &value)) {
        const int error = errno;
        if (index != VMXC_MSR_VMX_BASIC && (error == EIO || error == ENOENT))
            return CLI_OK;
        return cli_complain("%s: MSR %" PRIX32 "H: %s%s", source->path, index, strerror(error),
                            error == ENOENT ? "" : msr_advice(error));
    }
    (void)snprintf(key, sizeof key, "0x%" PRIx32, index);
    (void)json_object_set_new(object, key, cli_json_hex(value));
    return CLI_OK;
}

static enum cli_status capture_msrs(const struct msr_source *source, json_t *object)
{
    static const uint32_t others[] = {0x3a, 0x1b, 0x9b, 0x10a, 0x277, 0x345, 0xc0000080};
    enum cli_status status = CLI_OK;

    for (uint32_t index = 0x480; index <= 0x493 && status == CLI_OK; index++)
        status = add_msr(source, index, object);
    for (size_t i = 0; i < sizeof others / sizeof others[0] && status == CLI_OK; i++)
        status = add_msr(source, others[i], object);
    return status;
}

/* ---- The profile ---- */

/* All of the `cpu` object but its fields. Takes over `msrs`. NULL: no memory. */
static json_t *make_cpu(json_t *msrs)
{
    uint32_t widths[4] = {36 | 48 << 8}; /* of processors that do not say */
    (void)read_cpuid(0x80000008, 0, widths);
    return json_pack("{s:i, s:i, s:o, s:o, s:[]}", "maxphyaddr", (int)(widths[0] & 0xff),
                     "linear_width", (int)(widths[0] >> 8 & 0xff), "msr", msrs, "cpuid",
                     capture_cpuid(), "vmcs_fields");
}

/* Loading comes first: it is the check that others can load what is printed, and it decodes the MSRs. */
static enum cli_status print_cpu(json_t *cpu)
{
    struct vmxsim_profile *profile;
    struct vmxsim_error error;
    char *const text = cpu != NULL ? json_dumps(cpu, JSON_COMPACT) : NULL;
    enum cli_status status = CLI_OK;

    if (text == NULL)
        status = cli_complain("no memory left");
    else if (vmxsim_profile_from_json(text, strlen(text), "captured", &profile, &error) != VMXC_OK)
        status = cli_complain("what was captured is no profile: %s", error.text);
    free(text);
    if (status != CLI_OK) {
        json_decref(cpu);
        return status;
    }
    const int set = json_object_set_new(cpu, "vmcs_fields", cli_capture_fields(profile));
    vmxsim_profile_destroy(profile);
    if (set != 0) {
        json_decref(cpu);
        cpu = NULL;
    }
    return cli_print_json(cpu);
}

static void print_notes(bool stand_in)
{
    (void)fputs("vmxsim: note: vmcs_fields is derived from the capability MSRs; only VMREAD in VMX "
                "operation could tell\n",
                stderr);
    if (stand_in)
        (void)fputs("vmxsim: note: the MSRs come from --msr-dir, CPUID from this machine\n",
                    stderr);
}

enum cli_status cli_capture(uint32_t number, const char *msr_directory)
{
    struct msr_source source = {.fd = -1};

    if (!supported_host())
        return cli_complain("profile: capture needs Linux on x86-64");
    if (msr_directory == NULL && !has_vmx())
        return cli_complain("this processor has no VT-x (CPUID.1:ECX[5] is 0): nothing to capture; "
                            "in a virtual machine, turn on nested virtualization");
    if (msr_directory == NULL && !run_on(number))
        return cli_complain("cannot run on processor %" PRIu32 ": %s", number, strerror(errno));
    json_t *const msrs = json_object();
    enum cli_status status = msr_open(msr_directory, number, &source);
    if (status == CLI_OK)
        status = capture_msrs(&source, msrs);
    if (source.fd >= 0)
        (void)close(source.fd);
    if (status != CLI_OK) {
        json_decref(msrs);
        return status;
    }
    status = print_cpu(make_cpu(msrs));
    if (status == CLI_OK)
        print_notes(msr_directory != NULL);
    return status;
}
