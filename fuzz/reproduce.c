/* SPDX-License-Identifier: Apache-2.0 */
#include "reproduce.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_TEXT = 1 << 20, MAX_STATEMENT = 1024, MAX_POINTERS = 8 };

/* A program that grows; what is too long ends it. */
struct program {
    char text[MAX_TEXT];
    size_t length, look; /* look: where the last look begins; 0: there is none */
};

bool reproducing;

static struct program c, python;
static const char *pointers[MAX_POINTERS];
static size_t pointer_count;
static char reason[MAX_STATEMENT];

/* ---- Programs ---- */

static void add(struct program *program, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static void add(struct program *program, const char *format, ...)
{
    const size_t room = sizeof program->text - program->length;
    va_list arguments;

    va_start(arguments, format);
    const int length = vsnprintf(program->text + program->length, room, format, arguments);
    va_end(arguments);
    if (length > 0 && (size_t)length < room)
        program->length += (size_t)length;
    program->text[program->length] = '\0';
}

/* ---- From C to Python ---- */

static bool is_pointer(const char *word, size_t length)
{
    for (size_t i = 0; i < pointer_count; i++) {
        if (strlen(pointers[i]) == length && strncmp(pointers[i], word, length) == 0)
            return true;
    }
    return false;
}

static bool starts_with(const char *word, size_t length, const char *prefix)
{
    return length >= strlen(prefix) && strncmp(word, prefix, strlen(prefix)) == 0;
}

/* One identifier. `taken`: its address is; `member`: it names a member. */
static void add_word(const char *word, size_t length, bool taken, bool member)
{
    const bool of_library =
        starts_with(word, length, "vmxc_") || starts_with(word, length, "vmxsim_") ||
        starts_with(word, length, "VMXC_") || starts_with(word, length, "VMXSIM_");

    if (member)
        add(&python, "%.*s", (int)length, word);
    else if (length == 4 && strncmp(word, "NULL", 4) == 0)
        add(&python, "ffi.NULL");
    else if (of_library)
        add(&python, "lib.%.*s", (int)length, word);
    else if (is_pointer(word, length) && !taken)
        add(&python, "%.*s[0]", (int)length, word);
    else
        add(&python, "%.*s", (int)length, word);
}

static void add_translated(const char *statement)
{
    char before = ' ';
    bool string = false;

    while (*statement != '\0') {
        size_t length = 0;
        while (isalnum((unsigned char)statement[length]) || statement[length] == '_')
            length++;
        if (length > 0 && !isdigit((unsigned char)*statement))
            add_word(statement, length, before == '&', before == '.');
        else if (length > 0)
            add(&python, "%.*s", (int)length, statement);
        else if (*statement == '"')
            add(&python, (string = !string) ? "b\"" : "\"");
        else if (*statement != '&')
            add(&python, "%c", *statement);
        before = length > 0 ? 'x' : *statement;
        statement += length > 0 ? length : 1;
    }
}

/* ---- Notes ---- */

static void forget_look(struct program *program)
{
    if (program->look == 0)
        return;
    program->length = program->look;
    program->look = 0;
    program->text[program->length] = '\0';
}

/* A step is no look: those that were before it showed nothing. */
static void forget_looks(void)
{
    forget_look(&c);
    forget_look(&python);
}

void reproduce_value(const char *type, const char *name)
{
    if (!reproducing)
        return;
    add(&c, "    static %s %s;\n", type, name);
    add(&python, "%s = ffi.new(\"%s *\")\n", name, type);
}

void reproduce_array(const char *type, const char *name, unsigned count)
{
    if (!reproducing)
        return;
    add(&c, "    static %s %s[%u];\n", type, name, count);
    add(&python, "%s = ffi.new(\"%s[%u]\")\n", name, type, count);
}

void reproduce_pointer(const char *type, const char *name)
{
    if (!reproducing || pointer_count == MAX_POINTERS)
        return;
    pointers[pointer_count++] = name;
    add(&c, "    static %s *%s;\n", type, name);
    add(&python, "%s = ffi.new(\"%s **\")\n", name, type);
}

static void add_statement(const char *statement)
{
    add(&c, "    %s;\n", statement);
    add_translated(statement);
    add(&python, "\n");
}

void reproduce(const char *format, ...)
{
    char statement[MAX_STATEMENT];
    va_list arguments;

    forget_looks();
    va_start(arguments, format);
    (void)vsnprintf(statement, sizeof statement, format, arguments);
    va_end(arguments);
    add_statement(statement);
}

void reproduce_member(const char *name, const char *member, uint64_t value)
{
    if (!reproducing)
        return;
    add(&c, "    %s.%s = 0x%" PRIx64 ";\n", name, member, value);
    add(&python, "setattr(%s, \"%s\", 0x%" PRIx64 ")\n", name, member, value);
}

static void add_check(const char *function, const char *expression, uint64_t expected)
{
    char name[MAX_STATEMENT];

    (void)snprintf(name, sizeof name, "%s", expression);
    for (char *quote = name; (quote = strchr(quote, '"')) != NULL;)
        *quote = '\'';
    add(&c, "    %s(\"%s\", (uint64_t)(%s), 0x%" PRIx64 ");\n", function, name, expression,
        expected);
    add(&python, "%s(\"%s\", ", function, name);
    add_translated(expression);
    add(&python, ", 0x%" PRIx64 ")\n", expected);
}

void reproduce_call(int64_t result, const char *format, ...)
{
    char expression[MAX_STATEMENT];
    va_list arguments;

    forget_looks();
    va_start(arguments, format);
    (void)vsnprintf(expression, sizeof expression, format, arguments);
    va_end(arguments);
    add_check("step", expression, (uint64_t)result);
}

void reproduce_look_begin(void)
{
    if (!reproducing)
        return;
    forget_looks();
    c.look = c.length;
    python.look = python.length;
}

void reproduce_look_do(const char *format, ...)
{
    char statement[MAX_STATEMENT];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(statement, sizeof statement, format, arguments);
    va_end(arguments);
    add_statement(statement);
}

void reproduce_look(uint64_t expected, const char *format, ...)
{
    char expression[MAX_STATEMENT];
    va_list arguments;

    va_start(arguments, format);
    (void)vsnprintf(expression, sizeof expression, format, arguments);
    va_end(arguments);
    add_check("look", expression, expected);
}

void reproduce_elements(const char *name, const char *member, const uint64_t *numbers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (numbers[i] != 0)
            REPRODUCE("%s.%s[%zu] = 0x%" PRIx64, name, member, i, numbers[i]);
    }
}

void reproduce_machine(uint64_t ram_size, const char *profile, bool no_poison)
{
    reproduce_value("struct vmxsim_range", "ram");
    reproduce_value("struct vmxsim_memory_config", "config");
    reproduce_pointer("struct vmxsim_memory", "memory");
    reproduce_pointer("struct vmxsim_cpu", "cpu");
    reproduce_member("ram", "length", ram_size);
    REPRODUCE("config.ram = &ram");
    reproduce_member("config", "ram_count", 1);
    reproduce_member("config", "no_poison", no_poison);
    REPRODUCE_CALL(0, "vmxsim_memory_create(&config, &memory, NULL)");
    REPRODUCE_CALL(0, "vmxsim_cpu_create(memory, vmxsim_profile_builtin(\"%s\"), &cpu)", profile);
}

/* ---- Whole programs ---- */

static const char c_head[] =
    "#include <inttypes.h>\n"
    "#include <stdio.h>\n"
    "#include <string.h>\n"
    "\n"
    "#include \"vmxcore/addrspace.h\"\n"
    "#include \"vmxcore/io_bitmap.h\"\n"
    "#include \"vmxcore/msr_bitmap.h\"\n"
    "#include \"vmxsim/entry.h\"\n"
    "#include \"vmxsim/guest.h\"\n"
    "#include \"vmxsim/insn.h\"\n"
    "#include \"vmxsim/intercept.h\"\n"
    "\n"
    "static int wrong;\n"
    "\n"
    "static void look(const char *what, uint64_t found, uint64_t expected)\n"
    "{\n"
    "    if (found == expected)\n"
    "        return;\n"
    "    printf(\"%s: 0x%\" PRIx64 \", not 0x%\" PRIx64 \"\\n\", what, found, expected);\n"
    "    wrong = 1;\n"
    "}\n"
    "\n"
    "#define step look\n"
    "\n"
    "int main(void)\n"
    "{\n";

static const char python_head[] = "import sys\n"
                                  "\n"
                                  "from vmxsim.raw import ffi, lib\n"
                                  "\n"
                                  "wrong = 0\n"
                                  "\n"
                                  "\n"
                                  "def look(what, found, expected):\n"
                                  "    global wrong\n"
                                  "    found = int(found) & 0xffffffffffffffff\n"
                                  "    if found != expected:\n"
                                  "        print(f\"{what}: {found:#x}, not {expected:#x}\")\n"
                                  "        wrong = 1\n"
                                  "\n"
                                  "\n"
                                  "step = look\n"
                                  "\n";

void reproduce_begin(const char *what)
{
    (void)snprintf(reason, sizeof reason, "%s", what);
    for (char *at = strpbrk(reason, "\n*"); at != NULL; at = strpbrk(at, "\n*"))
        *at = ' ';
    reproducing = true;
}

void reproduce_print(void)
{
    if (c.length == 0)
        return;
    (void)fprintf(stderr, "---- reproducer.c ----\n/* %s */\n%s%s    return wrong;\n}\n", reason,
                  c_head, c.text);
    (void)fprintf(stderr, "---- reproducer.py ----\n# %s\n%s%s\nsys.exit(wrong)\n", reason,
                  python_head, python.text);
    (void)fprintf(stderr, "---- end of reproducers ----\n");
}
