# SPDX-License-Identifier: Apache-2.0
# Text files as C arrays, made at build time by CMake itself.
#
# vmxsim_embed_text(target header table FILES file...): adds to the target a source that includes `header` and
# defines `const struct vmxsim_embedded_text table[]` and `const size_t table_count`, one row per file in
# the order given; a row's name is the file's name without directory and extension.
#
# Arrays of bytes, not string literals: ISO C promises literals of 4095 characters only.
if(CMAKE_SCRIPT_MODE_FILE)
    set(arrays "")
    set(rows "")
    set(index 0)
    foreach(file IN LISTS FILES)
        get_filename_component(name "${file}" NAME_WE)
        file(READ "${file}" hex HEX)
        string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," bytes "${hex}")
        # Sixteen bytes ("0xNN," each) to a line.
        string(REPEAT "....." 16 line)
        string(REGEX REPLACE "(${line})" "\\1\n" bytes "${bytes}")
        string(APPEND arrays "static const char text_${index}[] = {\n${bytes}\n};\n")
        string(APPEND rows "    {\"${name}\", text_${index}, sizeof text_${index}},\n")
        math(EXPR index "${index} + 1")
    endforeach()
    file(WRITE "${OUTPUT}"
        "#include \"${HEADER}\"\n\n${arrays}\n"
        "const struct vmxsim_embedded_text ${TABLE}[] = {\n${rows}};\n"
        "const size_t ${TABLE}_count = ${index};\n")
    return()
endif()

set(VMXSIM_EMBED_TEXT_SCRIPT ${CMAKE_CURRENT_LIST_FILE})

function(vmxsim_embed_text target header table)
    cmake_parse_arguments(PARSE_ARGV 3 arg "" "" FILES)
    list(TRANSFORM arg_FILES PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
    set(output ${CMAKE_CURRENT_BINARY_DIR}/${table}.c)
    add_custom_command(OUTPUT ${output}
        COMMAND ${CMAKE_COMMAND} -D "FILES=${arg_FILES}" -D HEADER=${header} -D TABLE=${table}
            -D OUTPUT=${output} -P ${VMXSIM_EMBED_TEXT_SCRIPT}
        DEPENDS ${arg_FILES} ${VMXSIM_EMBED_TEXT_SCRIPT}
        COMMENT "Embedding ${table}"
        VERBATIM)
    target_sources(${target} PRIVATE ${output})
endfunction()
