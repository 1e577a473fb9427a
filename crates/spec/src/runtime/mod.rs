// SPDX-License-Identifier: Apache-2.0
//! runtime-spec v1.3 as data: a bundle's configuration and a container's state.
