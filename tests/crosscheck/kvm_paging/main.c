/* SPDX-License-Identifier: Apache-2.0 */
/* The engine `kvm-paging`: guest page walks of a vector file in a plain KVM guest. See docs/cross-check-kvm-paging.md. */
#include "experiment.h"
#include "harness.h"
#include "machine.h"
#include "modes.h"
#include "vector.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define EXIT_USAGE        2
#define EXIT_SKIPPED      77 /* this machine cannot run the engine */
#define PROGRESS_INTERVAL 1000u

static const char help[] =
    "usage: kvm_paging [--json] INPUT OUTPUT\n"
    "       kvm_paging --probe\n"
    "\n"
    "Runs the cases of a vector file (docs/vectors.md; kind `access`, a VMCS without EPT) in a\n"
    "plain KVM guest and writes the file again with what was observed. `vmxsim replay OUTPUT`\n"
    "then compares it with the model. A case that cannot be run is not written; it is named on\n"
    "standard error and counted.\n"
    "\n"
    "options:\n"
    "  --device FILE  KVM is there; /dev/kvm if not given\n"
    "  --probe        print the engine, the guest's CPUID and the paging modes that work, as JSON\n"
    "  --json         the counts as JSON\n"
    "  --help         this text\n"
    "\n"
    "exit status: 0 every case was observed; 1 some were not; 2 wrong usage or a file that\n"
    "cannot be read or written; 77 this machine cannot run KVM guests\n";

static const struct option options[] = {
    {"device", required_argument, NULL, 'd'},
    {"probe", no_argument, NULL, 'p'},
    {"json", no_argument, NULL, 'j'},
    {"help", no_argument, NULL, 'h'},
    {NULL, 0, NULL, 0},
};

struct counts {
    unsigned long cases, observed;
};

struct session {
    struct machine machine;
    json_t *header;
    FILE *output;
    const char *input_path;
    unsigned long line; /* of the input */
    struct counts counts;
    bool progress;
};

static int complain(const char *what, const char *text)
{
    (void)fprintf(stderr, "kvm_paging: %s: %s\n", what, text);
    return EXIT_USAGE;
}

/* ---- What the engine is ---- */

static bool parameter_is_on(const char *path)
{
    FILE *const stream = fopen(path, "r");
    const int first = stream ? fgetc(stream) : EOF;

    if (stream)
        (void)fclose(stream);
    return first == 'Y' || first == '1';
}

/* Who walks the guest's tables: the processor, or KVM in software; PVM also emulates the guest's CPL 0. */
static const char *walker(void)
{
    if (access("/sys/module/kvm_pvm", F_OK) == 0)
        return "shadow paging, PVM";
    return parameter_is_on("/sys/module/kvm_intel/parameters/ept") ||
                   parameter_is_on("/sys/module/kvm_amd/parameters/npt")
               ? "nested paging"
               : "shadow paging";
}

static json_t *describe_source(const struct machine *machine)
{
    const struct kvm_cpuid_entry2 *const vendor = machine_cpuid(machine, 0, 0);
    const struct kvm_cpuid_entry2 *const version = machine_cpuid(machine, 1, 0);
    struct utsname system;
    char name[13] = "";
    char model[64];

    if (vendor) {
        memcpy(name, &vendor->ebx, 4);
        memcpy(name + 4, &vendor->edx, 4);
        memcpy(name + 8, &vendor->ecx, 4);
    }
    (void)snprintf(model, sizeof model, "%s %x, %s", name, version ? version->eax : 0, walker());
    if (uname(&system) != 0)
        (void)strcpy(system.release, "?");
    return json_pack("{s:s,s:s,s:s}", "engine", "kvm-paging", "version", system.release, "model",
                     model);
}

static json_t *describe_cpuid(const struct machine *machine)
{
    json_t *const leaves = json_object();

    for (uint32_t i = 0; i < machine->cpuid_count; i++) {
        const struct kvm_cpuid_entry2 *const entry = &machine->cpuid[i];
        char key[32];
        (void)snprintf(key, sizeof key, "0x%x.%u", entry->function, entry->index);
        (void)json_object_set_new(
            leaves, key,
            json_pack("[s,s,s,s]", vector_hex(entry->eax).text, vector_hex(entry->ebx).text,
                      vector_hex(entry->ecx).text, vector_hex(entry->edx).text));
    }
    return leaves;
}

/* What the guest was given, in place of what the generator may have assumed. */
static void describe_cpu(const struct machine *machine, json_t *cpu)
{
    const struct kvm_cpuid_entry2 *const sizes = machine_cpuid(machine, 0x80000008, 0);

    (void)json_object_set_new(cpu, "maxphyaddr", json_integer(machine_maxphyaddr(machine)));
    (void)json_object_set_new(cpu, "linear_width",
                              json_integer(sizes ? sizes->eax >> 8 & 0xff : 48));
    (void)json_object_set_new(cpu, "cpuid", describe_cpuid(machine));
}

static int probe(struct machine *machine)
{
    struct reason why;
    json_t *const modes = modes_find(machine, &why);

    if (!modes)
        return complain("probe", why.text);
    json_t *const cpu = json_object();
    json_t *const document =
        json_pack("{s:o,s:O,s:o}", "source", describe_source(machine), "cpu", cpu, "modes", modes);

    describe_cpu(machine, cpu);
    const bool printed = json_dumpf(document, stdout, JSON_INDENT(1)) == 0 && putchar('\n') != EOF;

    json_decref(cpu);
    json_decref(document);
    return printed ? EXIT_SUCCESS : complain("standard output", strerror(errno));
}

/* ---- Files ---- */

static bool write_line(const struct session *session, const json_t *value)
{
    return json_dumpf(value, session->output, JSON_COMPACT) == 0 &&
           fputc('\n', session->output) != EOF;
}

static bool start_file(struct session *session, struct reason *why)
{
    json_t *const seed = json_object_get(json_object_get(session->header, "source"), "seed");
    json_t *const cpu = json_object_get(session->header, "cpu");
    json_t *const source = describe_source(&session->machine);

    if (json_is_integer(seed))
        (void)json_object_set(source, "seed", seed);
    (void)json_object_set_new(session->header, "source", source);
    if (!json_is_object(cpu))
        return refuse(why, "the header has no `cpu`");
    describe_cpu(&session->machine, cpu);
    if (!vector_add_ram(&session->machine, session->header, why) ||
        !machine_add_harness(&session->machine, HARNESS_GPA, HARNESS_SIZE, why))
        return false;
    harness_fill(&session->machine);
    return write_line(session, session->header) || refuse(why, "writing: %s", strerror(errno));
}

/* False: the output cannot be written. A case that cannot be run is counted, and the batch goes on. */
static bool run_case(struct session *session, json_t *line)
{
    struct vector_case vector;
    struct reason why;
    json_t *expect;
    bool written = true;

    session->counts.cases++;
    if (vector_read_case(session->header, line, &vector, &why) &&
        experiment_run(&session->machine, &vector, &expect, &why)) {
        session->counts.observed++;
        (void)json_object_set_new(line, "expect", expect);
        written = write_line(session, line);
    } else {
        (void)fprintf(stderr, "kvm_paging: %s: not run: %s\n", vector.id ? vector.id : "?",
                      why.text);
    }
    vector_case_free(&vector);
    if (session->progress && session->counts.cases % PROGRESS_INTERVAL == 0)
        (void)fprintf(stderr, "\rkvm_paging: %lu cases", session->counts.cases);
    return written;
}

static int complain_at(const struct session *session, const char *text)
{
    (void)fprintf(stderr, "kvm_paging: %s:%lu: %s\n", session->input_path, session->line, text);
    return EXIT_USAGE;
}

static int run_line(struct session *session, const char *text)
{
    json_error_t error;
    struct reason why;
    json_t *const line = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    int status = EXIT_SUCCESS;

    session->line++;
    if (!line)
        return complain_at(session, error.text);
    if (session->header && !run_case(session, line))
        status = complain("writing", strerror(errno));
    if (!session->header) {
        session->header = json_incref(line);
        if (!start_file(session, &why))
            status = complain_at(session, why.text);
    }
    json_decref(line);
    return status;
}

static int run_lines(struct session *session, FILE *input)
{
    char *text = NULL;
    size_t capacity = 0;
    int status = EXIT_SUCCESS;

    while (status == EXIT_SUCCESS && getline(&text, &capacity, input) > 0)
        status = run_line(session, text);
    free(text);
    if (status == EXIT_SUCCESS && ferror(input))
        return complain(session->input_path, strerror(errno));
    if (status == EXIT_SUCCESS && !session->header)
        return complain(session->input_path, "no header");
    return status;
}

static int report(const struct counts *counts, bool json)
{
    const unsigned long missing = counts->cases - counts->observed;

    if (json)
        (void)printf("{\"cases\": %lu, \"observed\": %lu, \"not_run\": %lu}\n", counts->cases,
                     counts->observed, missing);
    else
        (void)printf("kvm-paging: %lu cases, %lu observed, %lu not run\n", counts->cases,
                     counts->observed, missing);
    return counts->observed == counts->cases ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* What was at the output's place stays there until all is written; it may be the input. */
static int run_to(struct session *session, FILE *input, const char *part, const char *output_path)
{
    session->output = fopen(part, "w");
    if (!session->output)
        return complain(part, strerror(errno));
    int status = run_lines(session, input);
    if (fclose(session->output) != 0 && status == EXIT_SUCCESS)
        status = complain(part, strerror(errno));
    if (session->progress && session->counts.cases >= PROGRESS_INTERVAL)
        (void)fputs("\r\033[K", stderr);
    if (status == EXIT_SUCCESS && rename(part, output_path) != 0)
        status = complain(output_path, strerror(errno));
    if (status != EXIT_SUCCESS)
        (void)unlink(part);
    return status;
}

static int run_file(struct session *session, const char *output_path, bool json)
{
    FILE *const input = fopen(session->input_path, "r");
    char *part = NULL;
    int status;

    if (!input)
        return complain(session->input_path, strerror(errno));
    if (asprintf(&part, "%s.part", output_path) < 0)
        status = complain(output_path, strerror(errno));
    else
        status = run_to(session, input, part, output_path);
    free(part);
    (void)fclose(input);
    json_decref(session->header);
    return status == EXIT_SUCCESS ? report(&session->counts, json) : status;
}

int main(int argc, char **argv)
{
    struct session session = {.progress = isatty(STDERR_FILENO) != 0};
    const char *device = "/dev/kvm";
    bool json = false, only_probe = false;
    struct reason why;
    int option, status;

    while ((option = getopt_long(argc, argv, "h", options, NULL)) != -1) {
        switch (option) {
        case 'd':
            device = optarg;
            break;
        case 'p':
            only_probe = true;
            break;
        case 'j':
            json = true;
            break;
        case 'h':
            return fputs(help, stdout) < 0 ? EXIT_USAGE : EXIT_SUCCESS;
        default:
            return EXIT_USAGE;
        }
    }
    if (argc - optind != (only_probe ? 0 : 2))
        return complain("usage", "needs INPUT and OUTPUT; see --help");
    if (!machine_open(&session.machine, device, &why)) {
        (void)printf("kvm-paging: skipped: %s\n", why.text);
        machine_close(&session.machine);
        return EXIT_SKIPPED;
    }
    session.input_path = argv[optind];
    status = only_probe ? probe(&session.machine) : run_file(&session, argv[optind + 1], json);
    machine_close(&session.machine);
    return status;
}
