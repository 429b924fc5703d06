/* SPDX-License-Identifier: Apache-2.0 */
/* A program that needs libvmxcore alone. */
#include <stdio.h>
#include <string.h>

#include <vmxcore/frame.h>

int main(void)
{
    const struct vmxc_frame frame = vmxc_frame_uninit();
    char text[64];

    vmxc_frame_format(&frame, text, sizeof(text));
    printf("%s\n", text);
    return strcmp(text, "frame (uninitialized)") == 0 ? 0 : 1;
}
