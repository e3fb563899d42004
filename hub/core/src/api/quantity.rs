//! Kubernetes quantities (`500m`, `64Mi`, `1.5`, `2e3`): kept as written, read in whole units when needed.

use alloc::{
    collections::BTreeMap,
    format,
    string::{String, ToString},
};
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, de::Visitor};

/// Quantities by resource name (`cpu`, `memory`).
pub type Amounts = BTreeMap<String, Quantity>;

/// An amount, as the operator wrote it. JSON numbers are taken too.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct Quantity(pub String);

impl Quantity {
    /// An amount in whole bytes, as Kubernetes would print it.
    #[must_use]
    pub fn bytes(bytes: u64) -> Self {
        let text = match bytes {
            0 => "0".to_string(),
            b if b % (1 << 20) == 0 => format!("{}Mi", b >> 20),
            b if b % (1 << 10) == 0 => format!("{}Ki", b >> 10),
            b => b.to_string(),
        };
        Self(text)
    }

    /// An amount in thousandths, as Kubernetes would print it.
    #[must_use]
    pub fn milli(milli: u32) -> Self {
        Self(if milli.is_multiple_of(1000) {
            (milli / 1000).to_string()
        } else {
            format!("{milli}m")
        })
    }

    /// The amount in thousandths, rounded up. `None` if it is not a quantity, negative, or too large.
    #[must_use]
    pub fn in_milli(&self) -> Option<u64> {
        parse(&self.0)
    }

    /// The amount in whole units, rounded up. `None` if it is not a quantity, negative, or too large.
    #[must_use]
    pub fn in_units(&self) -> Option<u64> {
        parse(&self.0).map(|milli| milli.div_ceil(1000))
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Quantity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Amount;
        impl Visitor<'_> for Amount {
            type Value = Quantity;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a quantity such as \"500m\", \"64Mi\" or 2")
            }
            fn visit_str<E>(self, text: &str) -> Result<Quantity, E> {
                Ok(Quantity(text.to_string()))
            }
            fn visit_u64<E>(self, number: u64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }
            fn visit_i64<E>(self, number: i64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }
            fn visit_f64<E>(self, number: f64) -> Result<Quantity, E> {
                Ok(Quantity(number.to_string()))
            }
        }
        deserializer.deserialize_any(Amount)
    }
}

/// Thousandths, rounded up. Grammar: `<number><suffix>`, suffix one of the binary (`Ki` to `Ei`) or decimal (`n` to
/// `E`) ones, or an exponent (`e3`, `E-2`).
fn parse(text: &str) -> Option<u64> {
    let end =
        text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '+')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let number = number.strip_prefix('+').unwrap_or(number);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || whole.len() > 19 || fraction.len() > 9 {
        return None;
    }
    let mut digits: u128 = 0;
    for digit in whole.bytes().chain(fraction.bytes()) {
        digits = digits * 10 + u128::from(digit.checked_sub(b'0').filter(|d| *d < 10)?);
    }
    let (factor, exponent) = scale(suffix)?;
    let exponent = exponent + 3 - i32::try_from(fraction.len()).ok()?;
    let scaled = digits.checked_mul(factor)?;
    let power = 10u128.checked_pow(exponent.unsigned_abs())?;
    let milli = if exponent >= 0 { scaled.checked_mul(power)? } else { scaled.div_ceil(power) };
    u64::try_from(milli).ok()
}

fn scale(suffix: &str) -> Option<(u128, i32)> {
    Some(match suffix {
        "" => (1, 0),
        "n" => (1, -9),
        "u" => (1, -6),
        "m" => (1, -3),
        "k" => (1, 3),
        "M" => (1, 6),
        "G" => (1, 9),
        "T" => (1, 12),
        "P" => (1, 15),
        "E" => (1, 18),
        "Ki" => (1 << 10, 0),
        "Mi" => (1 << 20, 0),
        "Gi" => (1 << 30, 0),
        "Ti" => (1 << 40, 0),
        "Pi" => (1 << 50, 0),
        "Ei" => (1 << 60, 0),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E'])?;
            let exponent: i32 = exponent.parse().ok()?;
            if !(-18..=18).contains(&exponent) {
                return None;
            }
            (1, exponent)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, milli: Option<u64>) {
        assert_eq!(Quantity(text.to_string()).in_milli(), milli, "{text}");
    }

    #[test]
    fn quantities_read_as_kubernetes_reads_them() {
        check("2", Some(2000));
        check("500m", Some(500));
        check("1.5", Some(1500));
        check("0.1", Some(100));
        check(".5", Some(500));
        check("64Mi", Some(64 << 20).map(|b: u64| b * 1000));
        check("1e3", Some(1_000_000));
        check("1E", Some(10u64.pow(18)).and_then(|e| e.checked_mul(1000)));
        check("100n", Some(1));
        check("1Ki", Some(1_024_000));
    }

    #[test]
    fn what_is_not_a_quantity_is_refused() {
        for text in [
            "",
            "x",
            "-1",
            "1 Mi",
            "1Mib",
            "..",
            "1..2",
            "1.2.3",
            "99999999999999999999",
            "1e99",
            "1e-2147483648",
            "+",
            ".",
        ] {
            check(text, None);
        }
    }
}
