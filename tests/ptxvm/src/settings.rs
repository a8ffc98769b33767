//! Settings from the environment, read once.

use std::path::PathBuf;

/// A call of a driver's function that is to fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub function: String,
    /// From 1.
    pub call: u64,
    pub code: u32,
}

/// All settings; README.md says what each does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    pub seed: u64,
    pub memory: u64,
    pub devices: u32,
    pub driver: i32,
    pub compute: (i32, i32),
    pub failures: Vec<Failure>,
    pub report: Option<PathBuf>,
    pub counts: Option<PathBuf>,
    pub limit: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            seed: 0,
            memory: 4 << 30,
            devices: 1,
            driver: 13000,
            compute: (8, 0),
            failures: Vec::new(),
            report: None,
            counts: None,
            limit: 1 << 34,
        }
    }
}

impl Settings {
    /// The settings that a function of names tells, such as `std::env::var`.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut settings = Settings::default();
        fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
            text.trim().parse().map_err(|_| format!("{name}={text}: not a number"))
        }
        if let Some(text) = get("PTXVM_SEED") {
            settings.seed = number("PTXVM_SEED", &text)?;
        }
        if let Some(text) = get("PTXVM_MEMORY") {
            settings.memory = number("PTXVM_MEMORY", &text)?;
        }
        if let Some(text) = get("PTXVM_DEVICES") {
            settings.devices = number("PTXVM_DEVICES", &text)?;
        }
        if let Some(text) = get("PTXVM_DRIVER") {
            settings.driver = number("PTXVM_DRIVER", &text)?;
        }
        if let Some(text) = get("PTXVM_LIMIT") {
            settings.limit = number("PTXVM_LIMIT", &text)?;
        }
        if let Some(text) = get("PTXVM_COMPUTE") {
            let Some((major, minor)) = text.split_once('.') else {
                return Err(format!("PTXVM_COMPUTE={text}: not of the form 8.0"));
            };
            settings.compute = (number("PTXVM_COMPUTE", major)?, number("PTXVM_COMPUTE", minor)?);
        }
        if let Some(text) = get("PTXVM_FAIL") {
            for part in text.split(',').filter(|part| !part.trim().is_empty()) {
                let [function, call, code] = part.trim().split(':').collect::<Vec<_>>()[..] else {
                    return Err(format!("PTXVM_FAIL={part}: not of the form function:call:code"));
                };
                settings.failures.push(Failure {
                    function: function.to_string(),
                    call: number("PTXVM_FAIL", call)?,
                    code: number("PTXVM_FAIL", code)?,
                });
            }
        }
        settings.report = get("PTXVM_REPORT").filter(|path| !path.is_empty()).map(PathBuf::from);
        settings.counts = get("PTXVM_COUNTS").filter(|path| !path.is_empty()).map(PathBuf::from);
        Ok(settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_is_read() {
        let get = |name: &str| {
            Some(
                match name {
                    "PTXVM_SEED" => "7",
                    "PTXVM_MEMORY" => "1024",
                    "PTXVM_DEVICES" => "2",
                    "PTXVM_DRIVER" => "12040",
                    "PTXVM_COMPUTE" => "9.0",
                    "PTXVM_LIMIT" => "100",
                    "PTXVM_FAIL" => "cuMemAlloc_v2:3:2, cuInit:1:100",
                    "PTXVM_REPORT" => "r",
                    _ => "c",
                }
                .to_string(),
            )
        };
        let settings = Settings::read(get).unwrap();
        assert_eq!((settings.seed, settings.memory, settings.devices, settings.driver), (7, 1024, 2, 12040));
        assert_eq!((settings.compute, settings.limit), ((9, 0), 100));
        assert_eq!(settings.failures[0], Failure { function: "cuMemAlloc_v2".into(), call: 3, code: 2 });
        assert_eq!(settings.failures[1].function, "cuInit");
        assert!(Settings::read(|name| (name == "PTXVM_FAIL").then(|| "x".into())).is_err());
    }
}
