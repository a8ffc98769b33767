//! Numbers as their shortest text, which comes back as the same bits. JSON has no words for what is no number, and its readers
//! may miss the last bit of others.

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt::Display;
use std::str::FromStr;

use super::figures::{Figures, Reading};

/// A number.
pub fn serialize<T: Display, S: Serializer>(value: &T, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}

pub fn deserialize<'de, T: FromStr, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    number(&String::deserialize(deserializer)?)
}

fn number<T: FromStr, E: Error>(text: &str) -> Result<T, E> {
    text.parse().map_err(|_| E::custom(format!("`{text}` is no number")))
}

/// A figure: its name, its extents and its values.
type Written = (String, Vec<usize>, Vec<String>);

fn write(figures: &Figures) -> Vec<Written> {
    let values = |reading: &Reading| reading.values.iter().map(f32::to_string).collect();
    figures.0.iter().map(|(name, r)| (name.clone(), r.shape.clone(), values(r))).collect()
}

fn read<E: Error>(written: Vec<Written>) -> Result<Figures, E> {
    let figure = |(name, shape, values): Written| {
        let values = values.iter().map(|text| number(text)).collect::<Result<_, E>>()?;
        Ok((name, Reading { shape, values }))
    };
    written.into_iter().map(figure).collect::<Result<_, E>>().map(Figures)
}

/// Figures.
pub mod figures {
    use super::*;

    pub fn serialize<S: Serializer>(figures: &Figures, serializer: S) -> Result<S::Ok, S::Error> {
        write(figures).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Figures, D::Error> {
        read(Vec::deserialize(deserializer)?)
    }
}

/// Figures that may be absent.
pub mod perhaps {
    use super::*;

    pub fn serialize<S: Serializer>(figures: &Option<Figures>, serializer: S) -> Result<S::Ok, S::Error> {
        figures.as_ref().map(write).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Figures>, D::Error> {
        Option::deserialize(deserializer)?.map(read).transpose()
    }
}

/// Named numbers.
pub mod rates {
    use super::*;

    pub fn serialize<S: Serializer>(rates: &[(String, f32)], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(rates.iter().map(|(name, rate)| (name, rate.to_string())))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<(String, f32)>, D::Error> {
        let written: Vec<(String, String)> = Vec::deserialize(deserializer)?;
        written.into_iter().map(|(name, rate)| Ok((name, number(&rate)?))).collect()
    }
}
