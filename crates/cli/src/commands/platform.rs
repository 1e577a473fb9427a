// SPDX-License-Identifier: Apache-2.0
//! `--platform OS/ARCH[/VARIANT]`

use conex_spec::image::Platform;

/// Reads `linux/arm64/v8`, or `arm64` alone.
pub(crate) fn parse_platform(text: &str) -> Result<Platform, String> {
    let parts: Vec<&str> = text.split('/').collect();
    let (os, architecture, variant) = match parts[..] {
        [architecture] => ("linux", architecture, None),
        [os, architecture] => (os, architecture, None),
        [os, architecture, variant] => (os, architecture, Some(variant)),
        _ => return Err("expected OS/ARCH[/VARIANT], such as linux/arm64".to_owned()),
    };
    if os.is_empty() || architecture.is_empty() {
        return Err("expected OS/ARCH[/VARIANT], such as linux/arm64".to_owned());
    }
    Ok(Platform {
        os: os.to_owned(),
        architecture: architecture.to_owned(),
        variant: variant.map(str::to_owned),
        ..Platform::default()
    })
}
