/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of a VM entry are written in words: rule, value, must_have, violated. Each word is a function that several files
 * share, so the linker sees it with the library's prefix. Included by internal/entry.h only.
 */
#ifndef VMXSIM_INTERNAL_ENTRY_NAMES_H
#define VMXSIM_INTERNAL_ENTRY_NAMES_H

/* clang-format off */
#define beyond_physical(...) vmxsim_entry_beyond_physical(__VA_ARGS__)
#define change_to(...) vmxsim_entry_change_to(__VA_ARGS__)
#define check_basic(...) vmxsim_entry_check_basic(__VA_ARGS__)
#define check_entry_controls(...) vmxsim_entry_check_entry_controls(__VA_ARGS__)
#define check_execution_controls(...) vmxsim_entry_check_execution_controls(__VA_ARGS__)
#define check_exit_controls(...) vmxsim_entry_check_exit_controls(__VA_ARGS__)
#define check_guest_non_register(...) vmxsim_entry_check_guest_non_register(__VA_ARGS__)
#define check_guest_pdptes(...) vmxsim_entry_check_guest_pdptes(__VA_ARGS__)
#define check_guest_registers(...) vmxsim_entry_check_guest_registers(__VA_ARGS__)
#define check_guest_rip(...) vmxsim_entry_check_guest_rip(__VA_ARGS__)
#define check_guest_segments(...) vmxsim_entry_check_guest_segments(__VA_ARGS__)
#define check_guest_tables(...) vmxsim_entry_check_guest_tables(__VA_ARGS__)
#define check_host_registers(...) vmxsim_entry_check_host_registers(__VA_ARGS__)
#define check_host_segments(...) vmxsim_entry_check_host_segments(__VA_ARGS__)
#define check_host_size(...) vmxsim_entry_check_host_size(__VA_ARGS__)
#define check_msr_load(...) vmxsim_entry_check_msr_load(__VA_ARGS__)
#define check_system_segments(...) vmxsim_entry_check_system_segments(__VA_ARGS__)
#define clear_bits(...) vmxsim_entry_clear_bits(__VA_ARGS__)
#define cpuid(...) vmxsim_entry_cpuid(__VA_ARGS__)
#define end_rule(...) vmxsim_entry_end_rule(__VA_ARGS__)
#define entry_outcomes(...) vmxsim_entry_outcomes(__VA_ARGS__)
#define holds(...) vmxsim_entry_holds(__VA_ARGS__)
#define is_canonical(...) vmxsim_entry_is_canonical(__VA_ARGS__)
#define memory32(...) vmxsim_entry_memory32(__VA_ARGS__)
#define memory64(...) vmxsim_entry_memory64(__VA_ARGS__)
#define must_allow_byte_limit(...) vmxsim_entry_must_allow_byte_limit(__VA_ARGS__)
#define must_allow_page_limit(...) vmxsim_entry_must_allow_page_limit(__VA_ARGS__)
#define must_be_canonical(...) vmxsim_entry_must_be_canonical(__VA_ARGS__)
#define must_equal(...) vmxsim_entry_must_equal(__VA_ARGS__)
#define must_have(...) vmxsim_entry_must_have(__VA_ARGS__)
#define must_lack(...) vmxsim_entry_must_lack(__VA_ARGS__)
#define nearest_canonical(...) vmxsim_entry_nearest_canonical(__VA_ARGS__)
#define nearest_pat(...) vmxsim_entry_nearest_pat(__VA_ARGS__)
#define no_single_field(...) vmxsim_entry_no_single_field(__VA_ARGS__)
#define note_field(...) vmxsim_entry_note_field(__VA_ARGS__)
#define primary vmxsim_entry_primary /* also passed as a function */
#define region_header(...) vmxsim_entry_region_header(__VA_ARGS__)
#define other_msr(...) vmxsim_entry_other_msr(__VA_ARGS__)
#define replace_by(...) vmxsim_entry_replace_by(__VA_ARGS__)
#define require_allowed(...) vmxsim_entry_require_allowed(__VA_ARGS__)
#define require_canonical(...) vmxsim_entry_require_canonical(__VA_ARGS__)
#define require_capable(...) vmxsim_entry_require_capable(__VA_ARGS__)
#define require_msr_list(...) vmxsim_entry_require_msr_list(__VA_ARGS__)
#define require_set(...) vmxsim_entry_require_set(__VA_ARGS__)
#define require_zero(...) vmxsim_entry_require_zero(__VA_ARGS__)
#define reserved_in_cet(...) vmxsim_entry_reserved_in_cet(__VA_ARGS__)
#define reserved_in_debugctl(...) vmxsim_entry_reserved_in_debugctl(__VA_ARGS__)
#define reserved_in_efer(...) vmxsim_entry_reserved_in_efer(__VA_ARGS__)
#define reserved_in_lbr_ctl(...) vmxsim_entry_reserved_in_lbr_ctl(__VA_ARGS__)
#define reserved_in_perf_global_ctrl(...) vmxsim_entry_reserved_in_perf_global_ctrl(__VA_ARGS__)
#define reserved_in_rtit_ctl(...) vmxsim_entry_reserved_in_rtit_ctl(__VA_ARGS__)
#define reserved_in_spec_ctrl(...) vmxsim_entry_reserved_in_spec_ctrl(__VA_ARGS__)
#define reserved_in_xss(...) vmxsim_entry_reserved_in_xss(__VA_ARGS__)
#define secondary vmxsim_entry_secondary /* also passed as a function */
#define set_bits(...) vmxsim_entry_set_bits(__VA_ARGS__)
#define sign_extended(...) vmxsim_entry_sign_extended(__VA_ARGS__)
#define undecided(...) vmxsim_entry_undecided(__VA_ARGS__)
#define value(...) vmxsim_entry_value(__VA_ARGS__)
#define violated(...) vmxsim_entry_violated(__VA_ARGS__)
#define violated_with(...) vmxsim_entry_violated_with(__VA_ARGS__)
#define wrmsr_succeeds(...) vmxsim_entry_wrmsr_succeeds(__VA_ARGS__)
/* clang-format on */

#endif
