// SPDX-License-Identifier: Apache-2.0
//! `EXPOSE`: `PORT[-PORT][/PROTOCOL]`, and of old an address and a host's port in front of it, which mean nothing.

/// What is wrong with how it is written, though it is understood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Style {
    pub(super) upper_case: bool,
    pub(super) mapped: bool,
}

/// `PORT/PROTOCOL` of every port in a range.
pub(super) fn parse(text: &str) -> Result<(Vec<String>, Style), String> {
    let (mapped, port) = match text.rsplit_once(':') {
        Some((_, port)) => (true, port),
        None => (false, text),
    };
    let (range, protocol) = port.split_once('/').unwrap_or((port, "tcp"));
    let lower = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&lower.as_str()) {
        return Err(format!("{text:?}: the protocol is tcp, udp or sctp"));
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let number = |digits: &str| digits.parse::<u16>().map_err(|_| format!("{text:?} is no port"));
    let (first, last) = (number(first)?, number(last)?);
    if first > last {
        return Err(format!("{text:?}: the range is backwards"));
    }
    let style = Style { upper_case: lower != protocol, mapped };
    Ok(((first..=last).map(|port| format!("{port}/{lower}")).collect(), style))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_ranges_and_protocols() {
        let ports = |text: &str| parse(text).map(|(ports, _)| ports.join(" "));
        assert_eq!(ports("80"), Ok("80/tcp".to_owned()));
        assert_eq!(ports("7000-7002/udp"), Ok("7000/udp 7001/udp 7002/udp".to_owned()));
        assert_eq!(
            parse("127.0.0.1:80:8080/TCP").map(|(_, style)| style),
            Ok(Style { upper_case: true, mapped: true })
        );
        for wrong in ["", "x", "80/icmp", "90-80", "65536"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
    }
}
