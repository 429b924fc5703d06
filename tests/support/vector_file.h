/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A small vector file that agrees, for suites that change it and replay it: a header, six cases of kind `access`. One
 * GByte of guest memory is mapped by one EPT entry: PML4 at 1000H, PDPT at 2000H. Template "flat" is a valid VMCS of
 * a 32-bit guest without paging; VECTOR_LONG_MODE are the changes that make it a 64-bit guest with its PML4 at 4000H.
 */
#ifndef VMXSIM_TESTS_VECTOR_FILE_H
#define VMXSIM_TESTS_VECTOR_FILE_H

#include "vmxsim/replay.h"

enum {
    LINE_HEADER,
    LINE_READ,
    LINE_VIOLATION,
    LINE_FAULT,
    LINE_EVENT,
    LINE_LOGGED,
    LINE_MISCONFIG,
    LINE_COUNT
};

#define VECTOR_LONG_MODE                                                               \
    "\"0x6800\":\"0x80000031\",\"0x6804\":\"0x2020\",\"0x2806\":\"0x500\",\"0x4012\":" \
    "\"0x93fb\",\"0x6802\":\"0x4000\",\"0x4816\":\"0xa09b\""

/* Replaces what occurs once in a line. */
struct vector_mutation {
    unsigned line;
    const char *find, *with, *key, *why;
};

/* The lines, and where the file and its deviations lie; valid between setup and teardown. */
extern char *vector_lines[LINE_COUNT];
extern char vector_directory[], vector_path[], vector_deviations_path[];

/* Check fixtures. The file is not written yet. */
void vector_file_setup(void);
void vector_file_teardown(void);

/* The processor becomes the built-in profile "everything". */
void vector_file_use_everything(void);

/* EPT paging-write control: no VM-entry rule is broken, but the model does not have it. */
#define VECTOR_UNSUPPORTED "\"0x4002\":\"0x96026172\",\"0x2034\":\"0x4\""

/* Replaces `find`, which occurs once in the line. */
void vector_line_replace(unsigned line, const char *find, const char *with);
void vector_line_set(unsigned line, const char *text);

void vector_file_write(void);
void vector_text_write(const char *path, const char *text, size_t length);

/* Verdict and reason of each case. */
#define VECTOR_SEEN_MAX 16u
struct vector_seen {
    unsigned count;
    enum vmxsim_case_verdict verdict[VECTOR_SEEN_MAX];
    char id[VECTOR_SEEN_MAX][32];
    char reason[VECTOR_SEEN_MAX][2048];
    char deviates[VECTOR_SEEN_MAX][32];
};

/* Replays the file as it was written. `error` may be NULL. */
enum vmxc_status vector_file_replay(struct vector_seen *seen, struct vmxsim_error *error);

/* The same, where nothing may be refused. */
void vector_file_decide(struct vector_seen *seen);

/* The file as it was written is refused at this line, and the text holds both parts. */
void vector_file_expect_refusal(unsigned line, const char *key, const char *why);

#endif
