//! Where an executable that was built for GPUs runs: on the first GPU, or, if it was built for both, on the processor.

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgMatches};

use super::arguments::common;
use crate::command::{Failure, output};
use crate::cuda::Device;
use crate::error::Error;
use crate::payload::{Manifest, Payload};

/// The option of all commands, in an executable that is for GPUs.
pub fn argument(manifest: &Manifest) -> Option<Arg> {
    if manifest.program.device.is_empty() {
        return None;
    }
    // One that is for GPUs alone has no choice; what it says of another place is in `choose`.
    let help = "Where to run: auto takes a GPU where there is one [default: auto]";
    let values = PossibleValuesParser::new(["auto", "cuda", "cpu"]);
    Some(common("device", "DEVICE", help, values).global(true).hide(manifest.processor.is_none()))
}

/// Decides where the model runs, and opens the GPU if that is on one.
pub fn choose(payload: &mut Payload, given: &ArgMatches) -> Result<Option<Device>, Failure> {
    if !payload.is_for_gpus() {
        return Ok(None);
    }
    let wanted = given.try_get_one::<String>("device").ok().flatten().map(String::as_str);
    match (wanted, payload.manifest.processor.is_some()) {
        (Some("cuda"), true) => {
            let failed =
                |error| Failure::from(error).help("leave out --device: it runs on this processor, too");
            open(payload).map(Some).map_err(failed)
        }
        (None | Some("cuda"), false) => {
            let way_out =
                "it was built with --device cuda; built with --device auto it runs without a GPU, too";
            open(payload).map(Some).map_err(|error| Failure::from(error).help(way_out))
        }
        (_, false) => Err(Failure::usage("it has code for GPUs alone: it was built with --device cuda")
            .help("build it with `weft build --device auto`, and it runs on processors, too")),
        (Some("cpu"), true) => {
            payload.take_processor();
            Ok(None)
        }
        (_, true) => match open(payload) {
            Ok(device) => {
                output::note(&format!("running on {}", device.name()));
                Ok(Some(device))
            }
            Err(error) => {
                output::note(&format!("running on this processor: {error}"));
                payload.take_processor();
                Ok(None)
            }
        },
    }
}

/// The first GPU, if it runs the program.
fn open(payload: &Payload) -> Result<Device, Error> {
    let device = Device::open()?;
    device.check(&payload.manifest.program.device)?;
    Ok(device)
}
