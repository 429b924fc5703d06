/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VMXSIM_INTERNAL_ARRAY_H
#define VMXSIM_INTERNAL_ARRAY_H

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

#endif
