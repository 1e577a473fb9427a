// SPDX-License-Identifier: Apache-2.0
//! image-spec v1.1 as data: descriptors, manifests, indexes, image configurations, the layout marker.

pub mod annotation;
pub mod config;
pub mod descriptor;
pub mod index;
pub mod layout;
pub mod manifest;
pub mod media_type;
pub mod platform;

pub use config::{ContainerConfig, History, ImageConfig, RootFs};
pub use descriptor::Descriptor;
pub use index::Index;
pub use layout::{LAYOUT_VERSION, LayoutMarker};
pub use manifest::Manifest;
pub use platform::Platform;
