# SPDX-License-Identifier: Apache-2.0
# vmxsim_warnings(target): the project's warning list; fatal with VMXSIM_WERROR.
function(vmxsim_warnings target)
    target_compile_options(${target} PRIVATE
        -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wcast-align -Wcast-qual
        -Wmissing-prototypes -Wstrict-prototypes -Wundef -Wvla -Wformat=2
        $<$<BOOL:${VMXSIM_WERROR}>:-Werror>)
endfunction()
