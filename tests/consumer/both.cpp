// SPDX-License-Identifier: Apache-2.0
// Both libraries from C++: the headers give C linkage, the types work with ordinary C++ idioms.
#include <iostream>
#include <memory>

#include <vmxcore/ept.h>
#include <vmxsim/memory.h>

namespace
{

struct MemoryDeleter {
    void operator()(vmxsim_memory *memory) const
    {
        vmxsim_memory_destroy(memory);
    }
};

bool map_and_query(const vmxc_hal *hal)
{
    vmxc_ept_config config{};
    config.levels = 4;
    config.maxphyaddr = 46;
    config.largest_page = VMXC_PAGE_LEVEL_1G;
    config.table_memory_type = VMXC_MEMORY_TYPE_WB;

    vmxc_ept ept{};
    if (vmxc_ept_init(&ept, hal, &config) != VMXC_OK)
        return false;
    vmxc_ept_mapping mapping{};
    const bool found =
        vmxc_ept_map(&ept, 0x200000, 0x400000, VMXC_PAGE_SIZE_2M, VMXC_MAP_RWX) == VMXC_OK &&
        vmxc_ept_query(&ept, 0x212345, &mapping) == VMXC_OK;
    vmxc_ept_fini(&ept, nullptr, nullptr);
    return found && mapping.hpa == 0x400000 && mapping.page_size == VMXC_PAGE_SIZE_2M;
}

} // namespace

int main()
{
    const vmxsim_range ram{0x100000, 0x1000000};
    vmxsim_memory_config config{};
    config.ram = &ram;
    config.ram_count = 1;

    vmxsim_memory *created = nullptr;
    vmxsim_error error{};
    if (vmxsim_memory_create(&config, &created, &error) != VMXC_OK) {
        std::cerr << error.text << '\n';
        return 1;
    }
    const std::unique_ptr<vmxsim_memory, MemoryDeleter> memory{created};
    const bool good = map_and_query(vmxsim_memory_hal(memory.get())) &&
                      vmxsim_memory_stats(memory.get()).frames_in_use == 0;
    std::cout << (good ? "mapped and found\n" : "failed\n");
    return good ? 0 : 1;
}
