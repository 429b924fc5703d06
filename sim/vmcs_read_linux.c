/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A dump of a VMCS in a kernel log.
 *
 * The text is a stream of words; a key is the words before a '=', its value the word behind it:
 *
 *     [ 12.3] kvm_intel: CR0: actual=0x0000000080000031, shadow=0x...
 *                        `--' `----'  `----------------'
 *                     subject   key          value
 *
 * Of the words before '=' the longest tail that is a key of the current section counts, so that whatever a log
 * puts before a line needs no rules of its own, and a line may be wrapped anywhere. A number that is shorter than
 * the kernel prints it is cut, and its field not known.
 */
#include "internal/vmcs_read.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum section { GUEST, HOST, CONTROL };

enum value_kind {
    PLAIN,   /* one number */
    PAIR,    /* "0010:ffffffff81851f60": two fields */
    STATUS,  /* "12|34": upper and lower byte of one field */
    IGNORED, /* no field */
};

#define NO_FIELD VMXC_VMCS_FIELD_COUNT

struct dump_key {
    enum section section;
    enum value_kind kind;
    const char *subject, *key;
    uint16_t field, second; /* ordinals */
    uint8_t digits;
};

#define DUMP_KEY(section, subject, key, field, digits) \
    {section, PLAIN, subject, key, VMXC_VMCS_ORDINAL_##field, NO_FIELD, digits},
#define DUMP_PAIR(section, subject, key, field, second) \
    {section, PAIR, subject, key, VMXC_VMCS_ORDINAL_##field, VMXC_VMCS_ORDINAL_##second, 16},
#define DUMP_STATUS(section, subject, key, field) \
    {section, STATUS, subject, key, VMXC_VMCS_ORDINAL_##field, NO_FIELD, 2},
#define DUMP_IGNORED(section, subject, key) {section, IGNORED, subject, key, NO_FIELD, NO_FIELD, 1},
static const struct dump_key keys[] = {
#include "internal/dump_keys.def"
};

/* Lines that belong to a dump and show no field. */
static const char *const known_phrases[] = {
    "last attempted VM-entry on CPU", "MSR guest autoload:", "MSR host autoload:",
    "MSR guest autostore:",           "MSR autostore:",      "ve_info:",
};

/* "*** Guest State ***" and so on. */
static const struct {
    const char *text;
    enum section section;
} headers[] = {
    {"Guest", GUEST},
    {"Host", HOST},
    {"Control", CONTROL},
};

struct word {
    const char *text;
    size_t length;
    uint32_t line;
};

#define MAX_WORDS 4u /* a key has at most three, and its subject */
#define MAX_LINES 5u /* that are named in the note */

enum expected { EXPECT_WORD, EXPECT_VALUE, EXPECT_REST };

struct log {
    struct vmxsim_vmcs_reader *reader;
    enum section section;
    const char *subject; /* of the keys that follow; "" if none */
    uint32_t line, dumps;

    struct word words[MAX_WORDS]; /* before the next '=', the last ones */
    size_t word_count;
    enum expected expected;
    const struct dump_key *key; /* whose value is expected; NULL: one nobody knows */
    struct word begun;          /* first half of a number that a line's end cuts */

    bool understood, unknown_key; /* about the current line */
    bool started;                 /* a line of the dump has been seen */
    uint32_t pending;             /* lines since the last that was understood */
    uint32_t first_lines[MAX_LINES], first_count, pending_first[MAX_LINES];
};

/* ---- Words ---- */

static bool equals(const struct word *word, const char *text, size_t length)
{
    return word->length == length && memcmp(word->text, text, length) == 0;
}

static void add_word(struct log *log, struct word word)
{
    if (log->word_count == MAX_WORDS) {
        memmove(&log->words[0], &log->words[1], (MAX_WORDS - 1) * sizeof log->words[0]);
        log->word_count--;
    }
    log->words[log->word_count++] = word;
}

/* How many of the last words are the key: 0 if they are another. */
static size_t matched_words(const struct log *log, const char *key)
{
    size_t matched = 0, end = strlen(key);

    while (end > 0) {
        size_t start = end;
        while (start > 0 && key[start - 1] != ' ')
            start--;
        if (matched == log->word_count ||
            !equals(&log->words[log->word_count - 1 - matched], key + start, end - start))
            return 0;
        matched++;
        end = start > 0 ? start - 1 : 0;
    }
    return matched;
}

static bool is_subject(const struct word *word)
{
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        if (keys[i].subject[0] != '\0' && equals(word, keys[i].subject, strlen(keys[i].subject)))
            return true;
    }
    return false;
}

/* A subject stands right before its first key, and holds for those that follow. */
static bool subject_fits(const struct log *log, const struct dump_key *key, size_t matched)
{
    if (key->subject[0] == '\0')
        return true;
    if (matched < log->word_count) {
        const struct word *const before = &log->words[log->word_count - 1 - matched];
        if (is_subject(before))
            return equals(before, key->subject, strlen(key->subject));
    }
    return strcmp(log->subject, key->subject) == 0;
}

/* ---- Numbers ---- */

static int digit(char character)
{
    if (character >= '0' && character <= '9')
        return character - '0';
    if (character >= 'a' && character <= 'f')
        return character - 'a' + 10;
    return character >= 'A' && character <= 'F' ? character - 'A' + 10 : -1;
}

enum number { NUMBER_FINE, NUMBER_NONE, NUMBER_CUT, NUMBER_WIDE };

/* Hexadecimal digits, with or without "0x", at least `digits` of them. */
static enum number parse(const char *text, size_t length, unsigned digits, uint64_t *value)
{
    size_t count = 0;
    bool wide = false;

    if (length >= 2 && text[0] == '0' && text[1] == 'x') {
        text += 2;
        length -= 2;
    }
    *value = 0;
    for (; count < length; count++) {
        const int next = digit(text[count]);
        if (next < 0)
            return NUMBER_NONE;
        wide = wide || *value >> 60 != 0;
        *value = *value << 4 | (uint64_t)next;
    }
    if (wide)
        return NUMBER_WIDE;
    return count < digits ? NUMBER_CUT : NUMBER_FINE;
}

static void set_field(struct log *log, size_t ordinal, const char *text, size_t length,
                      unsigned digits)
{
    static const char *const complaints[] = {
        [NUMBER_NONE] = "is no number",
        [NUMBER_CUT] = "is cut off",
        [NUMBER_WIDE] = "is too wide",
    };
    uint64_t value;
    enum number result = parse(text, length, digits, &value);

    if (result == NUMBER_FINE &&
        (value & ~vmxsim_vmcs_width_mask(vmxsim_vmcs_encoding(ordinal))) != 0)
        result = NUMBER_WIDE;
    if (result == NUMBER_FINE) {
        vmxsim_reader_set(log->reader, ordinal, value, log->line);
        log->understood = true;
        return;
    }
    vmxsim_reader_note(log->reader, "line %" PRIu32 ": the value of %s %s: not known", log->line,
                       vmxsim_vmcs_name(ordinal), complaints[result]);
    vmxsim_reader_distrust(log->reader, ordinal);
}

static void set_pair(struct log *log, const struct dump_key *key, const struct word *word)
{
    const char *const colon = memchr(word->text, ':', word->length);
    const size_t first = colon != NULL ? (size_t)(colon - word->text) : word->length;
    const size_t second = colon != NULL ? word->length - first - 1 : 0;

    set_field(log, key->field, word->text, first, 4);
    set_field(log, key->second, word->text + word->length - second, second, key->digits);
}

static void set_status(struct log *log, const struct dump_key *key, const struct word *word)
{
    char digits[4] = "";

    if (word->length != 5 || word->text[2] != '|') {
        set_field(log, key->field, "", 0, 1);
        return;
    }
    memcpy(digits, word->text, 2);
    memcpy(digits + 2, word->text + 3, 2);
    set_field(log, key->field, digits, sizeof digits, sizeof digits);
}

static void set_value(struct log *log, const struct dump_key *key, const struct word *word)
{
    switch (key->kind) {
    case PLAIN:
        set_field(log, key->field, word->text, word->length, key->digits);
        return;
    case PAIR:
        set_pair(log, key, word);
        return;
    case STATUS:
        set_status(log, key, word);
        return;
    case IGNORED:
        return;
    }
}

/* ---- Keys and values ---- */

/* A key, or its subject, may have begun on the line before, which is then understood after all. */
static void claim_words(struct log *log, size_t matched)
{
    if (matched < log->word_count && is_subject(&log->words[log->word_count - 1 - matched]))
        matched++;
    for (size_t i = log->word_count - matched; i < log->word_count; i++) {
        if (log->words[i].line + 1 == log->line && log->pending > 0) {
            log->pending--;
            return;
        }
    }
}

static void find_key(struct log *log)
{
    const struct dump_key *found = NULL;
    size_t longest = 0;

    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const size_t matched =
            keys[i].section == log->section ? matched_words(log, keys[i].key) : 0;
        if (matched > longest && subject_fits(log, &keys[i], matched)) {
            longest = matched;
            found = &keys[i];
        }
    }
    log->key = found;
    log->expected = EXPECT_VALUE;
    if (found != NULL) {
        claim_words(log, longest);
        log->subject = found->subject;
        log->understood = true;
    } else if (log->understood) {
        log->unknown_key = true;
    }
    log->word_count = 0;
}

/* A value that the end of its line may have cut in two: a number with fewer digits than it should have. */
static bool may_continue(const struct log *log, const struct word *word, bool at_end_of_line)
{
    uint64_t value;

    return at_end_of_line && log->key->kind == PLAIN && log->key->digits > 4 &&
           parse(word->text, word->length, log->key->digits, &value) == NUMBER_CUT;
}

static void take_value(struct log *log, const struct word *word, bool at_end_of_line)
{
    log->expected = EXPECT_WORD;
    if (log->key == NULL)
        return;
    if (may_continue(log, word, at_end_of_line)) {
        log->begun = *word;
        log->expected = EXPECT_REST;
        return;
    }
    set_value(log, log->key, word);
}

/* The second half of a number, or something else: then the first half was all there is. */
static bool take_rest(struct log *log, const struct word *word)
{
    char joined[40];
    uint64_t value;
    const size_t length = log->begun.length + word->length;

    log->expected = EXPECT_WORD;
    if (length < sizeof joined) {
        memcpy(joined, log->begun.text, log->begun.length);
        memcpy(joined + log->begun.length, word->text, word->length);
        if (digit(word->text[0]) >= 0 &&
            parse(word->text, word->length, 1, &value) == NUMBER_FINE &&
            parse(joined, length, log->key->digits, &value) == NUMBER_FINE) {
            set_field(log, log->key->field, joined, length, log->key->digits);
            return true;
        }
    }
    set_value(log, log->key, &log->begun);
    return false;
}

/* Behind a value: it is what the guest gets by other means, and not the field's. */
static void take_remark(struct log *log, const struct word *word)
{
    if (log->key == NULL || log->key->field == NO_FIELD ||
        (!equals(word, "(autoload)", 10) && !equals(word, "(effective)", 11)))
        return;
    vmxsim_reader_note(log->reader, "line %" PRIu32 ": %.*s: %s itself is not shown", log->line,
                       (int)word->length, word->text, vmxsim_vmcs_name(log->key->field));
    vmxsim_reader_distrust(log->reader, log->key->field);
}

static void start_section(struct log *log, enum section section)
{
    if (section == GUEST) { /* another dump: what came before does not count */
        vmxsim_reader_restart(log->reader);
        log->dumps++;
        log->reader->reading->lines_around += log->pending;
        log->pending = 0;
        log->first_count = 0;
        log->reader->reading->lines_not_understood = 0;
    }
    log->section = section;
    log->subject = "";
    log->word_count = 0;
    log->expected = EXPECT_WORD;
    log->understood = true;
}

static bool word_is(const struct log *log, size_t index, const char *text)
{
    return equals(&log->words[index], text, strlen(text));
}

/* After the last word of a header. */
static void look_for_header(struct log *log)
{
    if (log->word_count != MAX_WORDS || !word_is(log, 0, "***") || !word_is(log, 2, "State") ||
        !word_is(log, 3, "***"))
        return;
    for (size_t i = 0; i < sizeof headers / sizeof headers[0]; i++) {
        if (word_is(log, 1, headers[i].text)) {
            claim_words(log, MAX_WORDS);
            start_section(log, headers[i].section);
            return;
        }
    }
}

static void take_word(struct log *log, const struct word *word, bool at_end_of_line)
{
    if (word->length == 1 && word->text[0] == '>') /* quoted mail */
        return;
    if (log->expected == EXPECT_VALUE && !equals(word, "***", 3)) {
        take_value(log, word, at_end_of_line);
        return;
    }
    if (log->expected == EXPECT_REST && take_rest(log, word))
        return;
    take_remark(log, word);
    log->key = NULL;
    log->expected = EXPECT_WORD;
    add_word(log, *word);
    look_for_header(log);
}

/* ---- Lines ---- */

static bool contains(const char *line, size_t length, const char *text)
{
    const size_t wanted = strlen(text);

    for (size_t i = 0; i + wanted <= length; i++) {
        if (memcmp(line + i, text, wanted) == 0)
            return true;
    }
    return false;
}

static void look_for_phrases(struct log *log, const char *line, size_t length)
{
    for (size_t i = 0; i < sizeof known_phrases / sizeof known_phrases[0]; i++)
        log->understood = log->understood || contains(line, length, known_phrases[i]);
}

/* Whether more than white space follows. */
static bool is_blank(const char *line, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        if (strchr(" \t\r,", line[i]) == NULL || line[i] == '\0')
            return false;
    }
    return true;
}

static bool is_separator(char character)
{
    return character == ' ' || character == '\t' || character == '\r' || character == ',';
}

static void take_words(struct log *log, const char *line, size_t length)
{
    size_t i = 0;

    while (i < length) {
        if (is_separator(line[i])) {
            i++;
        } else if (line[i] == '=') {
            find_key(log);
            i++;
        } else {
            const size_t start = i;
            while (i < length && !is_separator(line[i]) && line[i] != '=')
                i++;
            const struct word word = {line + start, i - start, log->line};
            take_word(log, &word, is_blank(line + i, length - i));
        }
    }
}

static void note_line(struct log *log, uint32_t *count)
{
    if (*count < MAX_LINES)
        log->pending_first[*count] = log->line;
    ++*count;
}

/* Lines nobody understood count as part of the dump only if more of it follows. */
static void count_line(struct log *log)
{
    struct vmxsim_vmcs_reading *const reading = log->reader->reading;

    if (!log->understood) {
        note_line(log, &log->pending);
        return;
    }
    if (log->started) {
        for (uint32_t i = 0; i < log->pending && i < MAX_LINES; i++) {
            if (log->first_count < MAX_LINES)
                log->first_lines[log->first_count++] = log->pending_first[i];
        }
        reading->lines_not_understood += log->pending;
    } else {
        reading->lines_around += log->pending;
    }
    log->pending = 0;
    log->started = true;
    if (log->unknown_key) {
        reading->lines_not_understood++;
        if (log->first_count < MAX_LINES)
            log->first_lines[log->first_count++] = log->line;
    }
}

static void take_line(struct log *log, const char *line, size_t length)
{
    log->line++;
    log->understood = log->unknown_key = false;
    if (is_blank(line, length))
        return;
    look_for_phrases(log, line, length);
    take_words(log, line, length);
    count_line(log);
}

/* ---- The whole ---- */

static void add_notes(struct log *log)
{
    const struct vmxsim_vmcs_reading *const reading = log->reader->reading;
    char lines[MAX_LINES * 12] = "";
    size_t used = 0;

    if (log->dumps > 1)
        vmxsim_reader_note(log->reader, "the log holds %" PRIu32 " dumps: this is the last one",
                           log->dumps);
    if (reading->lines_not_understood == 0)
        return;
    for (uint32_t i = 0; i < log->first_count; i++)
        used += (size_t)snprintf(lines + used, sizeof lines - used, "%s%" PRIu32,
                                 i == 0 ? "" : ", ", log->first_lines[i]);
    vmxsim_reader_note(log->reader,
                       "lines of the dump that were not understood: %" PRIu32 " (%s%s)",
                       reading->lines_not_understood, lines,
                       reading->lines_not_understood > log->first_count ? " ..." : "");
}

enum vmxc_status vmxsim_vmcs_read_linux(struct vmxsim_vmcs_reader *reader,
                                        struct vmxsim_error *error)
{
    struct log log = {.reader = reader, .section = GUEST, .subject = ""};
    const char *const text = (const char *)reader->bytes;
    size_t start = 0;

    (void)error; /* a log without fields is found out by the caller */
    while (start < reader->length) {
        const char *const end = memchr(text + start, '\n', reader->length - start);
        const size_t length = end != NULL ? (size_t)(end - text) - start : reader->length - start;
        take_line(&log, text + start, length);
        start += length + 1;
    }
    if (log.expected == EXPECT_REST)
        set_value(&log, log.key, &log.begun);
    reader->reading->lines_around += log.pending;
    add_notes(&log);
    return VMXC_OK;
}
