/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a bit of an I/O or MSR bitmap says. The values are those of the bit itself.
 * Source: Intel SDM volume 3, "I/O-Bitmap Addresses", "MSR-Bitmap Address".
 */
#ifndef VMXC_INTERCEPT_H
#define VMXC_INTERCEPT_H

enum vmxc_intercept {
    VMXC_PASSTHROUGH = 0, /* the guest's access is carried out */
    VMXC_INTERCEPT = 1,   /* the guest's access causes a VM exit */
};

#endif
