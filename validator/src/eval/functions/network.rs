//! Address arithmetic. Octets may have leading zeros and are decimal all the same, as in Terraform.

use super::{Call, Fault, Outcome};
use crate::eval::types::Type;
use crate::eval::value::Value;
use num_bigint::{BigInt, BigUint, Sign};
use std::net::{Ipv4Addr, Ipv6Addr};

/// A network: its first address, bits of an address, bits of the prefix.
#[derive(Clone, Copy)]
struct Network {
    base: u128,
    width: u32,
    prefix: u32,
}

impl Network {
    fn host_bits(self) -> u32 {
        self.width - self.prefix
    }

    fn address(self, value: u128) -> String {
        if self.width == 32 { Ipv4Addr::from(value as u32).to_string() } else { ipv6(value) }
    }

    fn show(self) -> String {
        format!("{}/{}", self.address(self.base), self.prefix)
    }
}

/// Mapped addresses are written as version 4, as Terraform's library does.
fn ipv6(value: u128) -> String {
    match Ipv6Addr::from(value).to_ipv4_mapped() {
        Some(v4) => v4.to_string(),
        None => Ipv6Addr::from(value).to_string(),
    }
}

fn parse_v4(text: &str) -> Option<u32> {
    let mut parts = text.split('.');
    let mut value = 0u32;
    for _ in 0..4 {
        let part = parts.next()?;
        if part.is_empty() || part.len() > 8 || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let octet: u32 = part.parse().ok()?;
        if octet > 255 {
            return None;
        }
        value = value << 8 | octet;
    }
    parts.next().is_none().then_some(value)
}

fn parse(call: &Call<'_>) -> Result<Network, Fault> {
    let text = call.text(0)?;
    let fail = || Fault::argument(0, format!("invalid CIDR expression: invalid CIDR address: {text}"));
    let (address, prefix) = text.split_once('/').ok_or_else(fail)?;
    if prefix.is_empty() || prefix.len() > 4 || !prefix.bytes().all(|b| b.is_ascii_digit()) {
        return Err(fail());
    }
    let prefix: u32 = prefix.parse().map_err(|_| fail())?;
    let (value, width) = match parse_v4(address) {
        Some(v4) => (u128::from(v4), 32),
        None => {
            // An embedded version 4 part with leading zeros is the one form not read here.
            let v6: Ipv6Addr = address.parse().map_err(|_| fail())?;
            (u128::from(v6), 128)
        }
    };
    if prefix > width {
        return Err(fail());
    }
    let host = width - prefix;
    let base = if host >= 128 { 0 } else { value >> host << host };
    Ok(Network { base, width, prefix })
}

/// A whole number argument of any size.
fn big(call: &Call<'_>, index: usize) -> Result<BigInt, Fault> {
    call.number(index)?.to_bigint().ok_or_else(|| Fault::argument(index, "value must be a whole number"))
}

pub(super) fn cidrhost(call: &Call<'_>) -> Outcome {
    let number = big(call, 1)?;
    let network = parse(call)?;
    let hosts = BigUint::from(1u32) << network.host_bits();
    let (sign, magnitude) = number.into_parts();
    let offset = match sign {
        // Counted from the end: -1 is the last address.
        Sign::Minus if magnitude <= hosts => &hosts - &magnitude,
        _ if sign != Sign::Minus && magnitude < hosts => magnitude.clone(),
        _ => {
            let (prefix, sign) = (network.prefix, if sign == Sign::Minus { "-" } else { "" });
            return Err(Fault::call(format!(
                "prefix of {prefix} does not accommodate a host numbered {sign}{magnitude}"
            )));
        }
    };
    let offset = u128::try_from(offset).unwrap_or(0);
    Ok(Value::string(network.address(network.base | offset)))
}

pub(super) fn cidrnetmask(call: &Call<'_>) -> Outcome {
    let network = parse(call)?;
    if network.width != 32 {
        return Err(Fault::call(format!("IPv6 addresses cannot have a netmask: {}", call.text(0)?)));
    }
    let mask = if network.prefix == 0 { 0 } else { u32::MAX << (32 - network.prefix) };
    Ok(Value::string(Ipv4Addr::from(mask).to_string()))
}

pub(super) fn cidrsubnet(call: &Call<'_>) -> Outcome {
    let bits = call.int(1)?;
    let number = big(call, 2)?;
    let network = parse(call)?;
    let host = i64::from(network.host_bits());
    if bits > host {
        return Err(Fault::call(format!(
            "insufficient address space to extend prefix of {} by {bits}",
            network.prefix
        )));
    }
    if bits < 0 || number.sign() == Sign::Minus {
        // Terraform's library accepts some of these by accident.
        return Ok(call.unknown(Type::String));
    }
    if number.bits() > bits as u64 {
        return Err(Fault::call(format!("prefix extension of {bits} does not accommodate a subnet numbered {number}")));
    }
    let number = u128::try_from(number).unwrap_or(0);
    let shift = (host - bits) as u32;
    let offset = if shift >= 128 { 0 } else { number << shift };
    Ok(Value::string(Network { base: network.base | offset, prefix: network.prefix + bits as u32, ..network }.show()))
}

pub(super) fn cidrsubnets(call: &Call<'_>) -> Outcome {
    let network = parse(call)?;
    let mut subnets = Vec::new();
    // The first address not yet given away, as an offset; past the end for a full network.
    let mut next: BigUint = BigUint::from(0u32);
    let size = BigUint::from(1u32) << network.host_bits();
    for i in 1..call.args.len() {
        let bits = call.int(i)?;
        if bits < 1 {
            return Err(Fault::argument(i, "must extend prefix by at least one bit"));
        }
        if bits > 32 {
            return Err(Fault::argument(i, "may not extend prefix by more than 32 bits"));
        }
        let prefix = network.prefix + bits as u32;
        if prefix > network.width {
            return Err(Fault::argument(i, format!("would extend prefix to {prefix} bits, which is too long")));
        }
        let step = BigUint::from(1u32) << (network.width - prefix);
        let start = (&next + &step - 1u32) / &step * &step;
        if &start + &step > size {
            return Err(Fault::argument(
                i,
                format!("not enough remaining address space for a subnet with a prefix of {prefix} bits"),
            ));
        }
        let base = network.base | u128::try_from(start.clone()).unwrap_or(0);
        subnets.push(Value::string(Network { base, prefix, ..network }.show()));
        next = start + step;
    }
    Ok(Value::list(Type::String, subnets))
}
