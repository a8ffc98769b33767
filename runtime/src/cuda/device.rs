//! One GPU: memory, kernels, and a stream of work. All calls of the driver are here.

use std::ffi::{CString, c_void};
use std::fmt;
use std::sync::{Arc, OnceLock};

use cudarc::driver::result::{self, DriverError};
use cudarc::driver::sys::{self, CUresult};

use crate::error::{Error, Result};
use crate::program::{Arch, DeviceCode, Scope};

/// The driver that kernels are made for, as CUDA counts versions.
const OLDEST_DRIVER: i32 = 13_000;
/// The GPUs that kernels are made for.
const OLDEST: u32 = Arch::PTX.capability;
/// Shared memory that a kernel may use without asking.
const SHARED: u32 = 48 << 10;
/// Whether images are machine code or PTX: `ptx` lets the driver compile them.
const IMAGE: &str = "WEFT_CUDA_IMAGE";

/// Whether each kernel is waited for, as the driver itself has it: `1` for who looks for one that fails.
const WAITS: &str = "CUDA_LAUNCH_BLOCKING";

/// Is the driver to compile everything itself?
fn only_ptx() -> bool {
    std::env::var_os(IMAGE).is_some_and(|kind| kind == "ptx")
}

/// A GPU that is ready for work.
#[derive(Clone)]
pub struct Device(Arc<Opened>);

struct Opened {
    device: sys::CUdevice,
    context: sys::CUcontext,
    stream: sys::CUstream,
    name: String,
    /// Of the architecture: 90 for 9.0.
    capability: u32,
}

// SAFETY: the driver's handles may be used from any thread on which the context is current, which every call here makes sure of.
unsafe impl Send for Opened {}
// SAFETY: as above; the driver locks what it must.
unsafe impl Sync for Opened {}

/// Memory of a device, given back when dropped.
#[derive(Debug)]
pub struct DeviceBlock {
    device: Device,
    pointer: sys::CUdeviceptr,
    bytes: usize,
}

/// A kernel that can be started.
#[derive(Clone, Debug)]
pub struct Function {
    name: Arc<str>,
    handle: sys::CUfunction,
    threads: u32,
    shared: u32,
}

// SAFETY: a handle is a number to whoever has it; it is used through the device that loaded it, which outlives the session's use of it.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}

/// The kernels of a program, and the modules that they are in.
pub struct Kernels {
    device: Device,
    modules: Vec<sys::CUmodule>,
    pub functions: Vec<Function>,
}

// SAFETY: as `Opened`.
unsafe impl Send for Kernels {}
// SAFETY: as `Opened`.
unsafe impl Sync for Kernels {}

/// Kernels with their arguments, in order, that are started by one call.
pub struct Graph {
    device: Device,
    ready: sys::CUgraphExec,
}

// SAFETY: as `Opened`.
unsafe impl Send for Graph {}
// SAFETY: as `Opened`.
unsafe impl Sync for Graph {}

/// Memory of this process that a device reads by itself while the process goes on, and a mark of when it has.
pub struct Staging {
    device: Device,
    start: *mut u8,
    bytes: usize,
    read: sys::CUevent,
}

// SAFETY: the memory is this value's own, and the handle as in `Opened`.
unsafe impl Send for Staging {}
// SAFETY: as above.
unsafe impl Sync for Staging {}

const NO_GPU: &str = "there is no GPU that CUDA can use";

/// `9.0`
fn version_text(capability: u32) -> String {
    format!("{}.{}", capability / 10, capability % 10)
}

/// What the driver says, as an error of ours with a way out. A kernel that failed is heard of by whatever call comes next.
fn failed(what: &str, error: DriverError) -> Error {
    let name =
        error.error_name().map_or_else(|_| format!("{:?}", error.0), |n| n.to_string_lossy().into_owned());
    let text = error.error_string().map_or_else(|_| String::new(), |t| format!(", {}", t.to_string_lossy()));
    Error::Device(match error.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => format!(
            "the GPU cannot {what}: {name}{text}; make batches smaller, or end other programs that use it"
        ),
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
        | CUresult::CUDA_ERROR_LAUNCH_FAILED
        | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
        | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
        | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS
        | CUresult::CUDA_ERROR_INVALID_ADDRESS_SPACE
        | CUresult::CUDA_ERROR_INVALID_PC
        | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
        | CUresult::CUDA_ERROR_ASSERT
        | CUresult::CUDA_ERROR_ECC_UNCORRECTABLE => format!(
            "a kernel failed on the GPU: {name}{text} (heard of when it was to {what}); {WAITS}=1 names the kernel, and --device cpu runs \
             without a GPU"
        ),
        CUresult::CUDA_ERROR_INVALID_IMAGE
        | CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
        | CUresult::CUDA_ERROR_INVALID_PTX
        | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION
        | CUresult::CUDA_ERROR_JIT_COMPILER_NOT_FOUND => format!(
            "the GPU cannot {what}: {name}{text}; its driver does not take these kernels: install a newer one, or run with --device cpu"
        ),
        _ => format!(
            "the GPU cannot {what}: {name}{text}; `nvidia-smi` says whether it works, and --device cpu runs without it"
        ),
    })
}

/// Is every kernel waited for, so that one that fails is known?
fn waits() -> bool {
    static WAITS_FOR_EACH: OnceLock<bool> = OnceLock::new();
    *WAITS_FOR_EACH.get_or_init(|| std::env::var_os(WAITS).is_some_and(|value| value == "1"))
}

impl Device {
    /// Opens the first GPU.
    ///
    /// # Errors
    /// No driver, an old one, no GPU, or one that is too old.
    pub fn open() -> Result<Device> {
        // SAFETY: opening the driver's library runs its own initialisation alone.
        if !unsafe { sys::is_culib_present() } {
            let message = "there is no CUDA driver here (libcuda.so.1 cannot be opened); NVIDIA's driver of CUDA 13 is needed";
            return Err(Error::Device(message.into()));
        }
        match result::init() {
            Ok(()) => {}
            Err(DriverError(CUresult::CUDA_ERROR_NO_DEVICE)) => {
                return Err(Error::Device(NO_GPU.into()));
            }
            Err(error) => return Err(failed("be prepared", error)),
        }
        let mut version = 0;
        // SAFETY: the driver is open, and writes one number.
        unsafe { sys::cuDriverGetVersion(&raw mut version) }
            .result()
            .map_err(|e| failed("tell its version", e))?;
        if version < OLDEST_DRIVER {
            return Err(Error::Device(format!(
                "the CUDA driver is for CUDA {}.{}, and kernels are made for {}.0 and later; install a newer driver",
                version / 1000,
                version % 1000 / 10,
                OLDEST_DRIVER / 1000,
            )));
        }
        if result::device::get_count().map_err(|e| failed("be counted", e))? == 0 {
            return Err(Error::Device(NO_GPU.into()));
        }
        let device = result::device::get(0).map_err(|e| failed("be opened", e))?;
        let name = result::device::get_name(device).unwrap_or_else(|_| "GPU".into());
        let attribute = |which| {
            // SAFETY: the device is the driver's own.
            unsafe { result::device::get_attribute(device, which) }.map_err(|e| failed("describe itself", e))
        };
        let major = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?;
        let minor = attribute(sys::CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?;
        let capability = u32::try_from(10 * major + minor).unwrap_or(0);
        if capability < OLDEST {
            return Err(Error::Device(format!(
                "{name} has compute capability {major}.{minor}, and kernels are made for {} and later",
                version_text(OLDEST)
            )));
        }
        // SAFETY: the device is the driver's own; the context is released at the end, and current before any call that needs it.
        unsafe {
            let context = result::primary_ctx::retain(device).map_err(|e| failed("be opened", e))?;
            let begun = result::ctx::set_current(context)
                .and_then(|()| result::stream::create(result::stream::StreamKind::NonBlocking));
            match begun {
                Ok(stream) => Ok(Device(Arc::new(Opened { device, context, stream, name, capability }))),
                Err(error) => {
                    let _ = result::primary_ctx::release(device);
                    Err(failed("begin to work", error))
                }
            }
        }
    }

    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The architecture that machine code is compiled for: `sm_90a`. That of Hopper and later has instructions of its own.
    pub fn arch(&self) -> Arch {
        let scope = if self.0.capability >= 90 { Scope::Alone } else { Scope::Later };
        Arch::cubin(self.0.capability, scope)
    }

    /// Whether one of the images of a program that is compiled already runs here.
    ///
    /// # Errors
    /// None does: the GPU is older than all of them.
    pub fn check(&self, code: &DeviceCode) -> Result<()> {
        let Opened { name, capability, .. } = &*self.0;
        if code.images.is_empty() || code.image_for(*capability, only_ptx()).is_some() {
            return Ok(());
        }
        let archs: Vec<String> = code.images.iter().map(|image| image.arch.to_string()).collect();
        Err(Error::Device(format!(
            "{name} has compute capability {}, and none of the kernels here is for it: they are for {}; build with --arch {}",
            version_text(*capability),
            archs.join(", "),
            self.arch()
        )))
    }

    /// Makes this device the calling thread's.
    fn enter(&self) -> Result<()> {
        // SAFETY: the context lives as long as `self`.
        unsafe { result::ctx::set_current(self.0.context) }.map_err(|e| failed("be used", e))
    }

    /// Why something that needs memory was not done.
    fn without(&self, bytes: usize, what: &str, error: DriverError) -> Error {
        match error {
            DriverError(CUresult::CUDA_ERROR_OUT_OF_MEMORY) => {
                let (free, total) = result::mem_get_info().unwrap_or_default();
                Error::DeviceMemory { bytes, free, total, name: self.0.name.clone() }
            }
            error => failed(what, error),
        }
    }

    /// Free and all bytes of memory.
    pub fn memory(&self) -> Result<(usize, usize)> {
        self.enter()?;
        result::mem_get_info().map_err(|e| failed("tell its memory", e))
    }

    /// Zeroed memory.
    pub fn block(&self, bytes: usize) -> Result<DeviceBlock> {
        if bytes == 0 {
            return Ok(DeviceBlock { device: self.clone(), pointer: 0, bytes });
        }
        self.enter()?;
        // SAFETY: the context is current; the memory is this block's own, and freed with it.
        let pointer = unsafe { result::malloc_sync(bytes) }
            .map_err(|error| self.without(bytes, "give memory", error))?;
        let block = DeviceBlock { device: self.clone(), pointer, bytes };
        // SAFETY: the block has so many bytes.
        unsafe { self.fill(block.pointer(), bytes, 0)? };
        Ok(block)
    }

    /// Sets bytes of device memory, in order with other work.
    ///
    /// # Safety
    /// So many bytes are there on this device.
    pub unsafe fn fill(&self, to: *mut u8, bytes: usize, value: u8) -> Result<()> {
        self.enter()?;
        // SAFETY: as this function's.
        unsafe { result::memset_d8_async(to.addr() as u64, value, bytes, self.0.stream) }
            .map_err(|e| failed("clear memory", e))
    }

    /// Copies bytes to the device. They may change as soon as this returns.
    ///
    /// # Safety
    /// As many bytes are there on this device.
    pub unsafe fn write(&self, to: *mut u8, from: &[u8]) -> Result<()> {
        if from.is_empty() {
            return Ok(());
        }
        self.enter()?;
        // SAFETY: as this function's. Memory that is not locked in place is read before the call returns.
        unsafe { result::memcpy_htod_async(to.addr() as u64, from, self.0.stream) }
            .map_err(|e| failed("take data", e))
    }

    /// Copies bytes from the device, after all work before.
    ///
    /// # Safety
    /// As many bytes are there on this device.
    pub unsafe fn read(&self, from: *const u8, to: &mut [u8]) -> Result<()> {
        self.enter()?;
        if !to.is_empty() {
            // SAFETY: as this function's; the copy is waited for while the bytes are borrowed.
            unsafe { result::memcpy_dtoh_async(to, from.addr() as u64, self.0.stream) }
                .map_err(|e| failed("give data", e))?;
        }
        self.wait()
    }

    /// Copies bytes from one place of the device to another.
    ///
    /// # Safety
    /// As many bytes are at both places on this device, and none is in both.
    pub unsafe fn copy(&self, to: *mut u8, from: *const u8, bytes: usize) -> Result<()> {
        if bytes == 0 {
            return Ok(());
        }
        self.enter()?;
        // SAFETY: as this function's.
        unsafe { result::memcpy_dtod_async(to.addr() as u64, from.addr() as u64, bytes, self.0.stream) }
            .map_err(|e| failed("copy", e))
    }

    /// Waits until all work is done; says what failed of it.
    pub fn wait(&self) -> Result<()> {
        self.enter()?;
        // SAFETY: the stream lives as long as `self`.
        unsafe { result::stream::synchronize(self.0.stream) }.map_err(|e| failed("finish its work", e))
    }

    /// Loads the kernels of a program; compiles them where it has no images.
    pub fn load(&self, code: &DeviceCode) -> Result<Kernels> {
        self.enter()?;
        self.check(code)?;
        let modules = match code.image_for(self.0.capability, only_ptx()) {
            Some(image) => image.modules()?,
            None if code.functions.is_empty() => Vec::new(),
            None => self.compiled(code)?,
        };
        let mut kernels = Kernels { device: self.clone(), modules: Vec::new(), functions: Vec::new() };
        for mut image in modules {
            // PTX is text that ends with a zero.
            image.push(0);
            // SAFETY: the image is there during the call, and ends with a zero.
            let module = unsafe { result::module::load_data(image.as_ptr().cast()) };
            let bytes = image.len();
            kernels.modules.push(module.map_err(|error| self.without(bytes, "load kernels", error))?);
        }
        for function in &code.functions {
            let name = CString::new(function.name.clone()).unwrap_or_default();
            // Images may hold one function each, or several.
            // SAFETY: the modules are loaded.
            let find =
                |module: &sys::CUmodule| unsafe { result::module::get_function(*module, name.clone()) }.ok();
            let handle = kernels.modules.get(kernels.functions.len()).and_then(find);
            let handle = handle.or_else(|| kernels.modules.iter().find_map(find));
            let handle = handle.ok_or_else(|| {
                Error::Unsound(format!("its images for {} lack the kernel `{}`", self.arch(), function.name))
            })?;
            if function.shared > SHARED {
                let bytes = i32::try_from(function.shared).unwrap_or(i32::MAX);
                let which = sys::CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
                // SAFETY: the handle is that of a loaded function.
                unsafe { result::function::set_function_attribute(handle, which, bytes) }
                    .map_err(|e| failed("give shared memory", e))?;
            }
            let name = Arc::from(function.name.as_str());
            let (threads, shared) = (function.threads, function.shared);
            kernels.functions.push(Function { name, handle, threads, shared });
        }
        Ok(kernels)
    }

    /// A module for each function of a program that is not compiled yet.
    #[cfg(feature = "nvrtc")]
    fn compiled(&self, code: &DeviceCode) -> Result<Vec<Vec<u8>>> {
        let arch = if only_ptx() { Arch::PTX } else { super::nvrtc::known(self.arch())? };
        let compiled = super::compile(code, arch, &super::Cache::of_user())?;
        Ok(compiled.into_iter().map(|compiled| compiled.bytes).collect())
    }

    #[cfg(not(feature = "nvrtc"))]
    fn compiled(&self, _: &DeviceCode) -> Result<Vec<Vec<u8>>> {
        Err(Error::Unsound("its kernels are not compiled, and nothing here compiles them".into()))
    }

    /// Starts a kernel over so many blocks, after all work before.
    ///
    /// # Safety
    /// `arguments` are the addresses of values of the kernel's parameters, in order; what they point to on the device is there until the
    /// kernel has run, and the kernel touches nothing else.
    pub unsafe fn launch(
        &self,
        function: &Function,
        grid: [u32; 3],
        arguments: &mut [*mut c_void],
    ) -> Result<()> {
        let (grid, block) = ((grid[0], grid[1], grid[2]), (function.threads, 1, 1));
        // SAFETY: as this function's; the session has entered the device.
        unsafe {
            result::launch_kernel(function.handle, grid, block, function.shared, self.0.stream, arguments)
        }
        .map_err(|e| failed("start a kernel", e))
    }

    /// Waits for a kernel that was just started, where each is waited for.
    pub fn wait_for(&self, function: &Function) -> Result<()> {
        if !waits() {
            return Ok(());
        }
        // SAFETY: the stream lives as long as `self`.
        unsafe { result::stream::synchronize(self.0.stream) }
            .map_err(|e| failed(&format!("run the kernel `{}`", function.name), e))
    }

    /// Whether work is captured, and started by one call from then on: not where each kernel is waited for.
    pub fn captures(&self) -> bool {
        !waits()
    }

    /// Makes this device the calling thread's for a run of launches.
    pub fn begin(&self) -> Result<()> {
        self.enter()
    }

    /// What `work` starts becomes a graph, and does not run yet.
    pub fn capture(&self, work: impl FnOnce() -> Result<()>) -> Result<Graph> {
        self.enter()?;
        let mode = sys::CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream lives as long as `self`; the graph is made and destroyed here.
        unsafe {
            result::stream::begin_capture(self.0.stream, mode).map_err(|e| failed("capture work", e))?;
            let worked = work();
            let graph = result::stream::end_capture(self.0.stream).map_err(|e| failed("capture work", e));
            worked?;
            let graph = graph?;
            let ready = result::graph::instantiate(graph, sys::CUgraphInstantiate_flags_enum(0));
            let _ = result::graph::destroy(graph);
            Ok(Graph { device: self.clone(), ready: ready.map_err(|e| failed("prepare work", e))? })
        }
    }

    /// Memory that the device reads by itself.
    pub fn staging(&self, bytes: usize) -> Result<Staging> {
        self.enter()?;
        let flags = sys::CUevent_flags::CU_EVENT_DISABLE_TIMING;
        // SAFETY: the context is current; memory and event are the value's own.
        unsafe {
            let start = result::malloc_host(bytes.max(1), 0).map_err(|e| failed("lock memory", e))?;
            let read = match result::event::create(flags) {
                Ok(read) => read,
                Err(error) => {
                    let _ = result::free_host(start);
                    return Err(failed("make an event", error));
                }
            };
            start.cast::<u8>().write_bytes(0, bytes);
            Ok(Staging { device: self.clone(), start: start.cast(), bytes, read })
        }
    }

    /// How long `work` takes on the device, in nanoseconds.
    pub fn time(&self, work: impl FnOnce() -> Result<()>) -> Result<u64> {
        self.enter()?;
        let event = || {
            result::event::create(sys::CUevent_flags::CU_EVENT_DEFAULT)
                .map_err(|e| failed("make an event", e))
        };
        let (start, end) = (event()?, event()?);
        // SAFETY: the events are this function's own.
        let outcome = unsafe {
            let measured = result::event::record(start, self.0.stream).map_err(|e| failed("measure", e));
            let measured = measured.and_then(|()| work()).and_then(|()| {
                result::event::record(end, self.0.stream)
                    .and_then(|()| result::event::synchronize(end))
                    .and_then(|()| result::event::elapsed(start, end))
                    .map_err(|e| failed("measure", e))
            });
            let _ = result::event::destroy(start);
            let _ = result::event::destroy(end);
            measured
        };
        outcome.map(|milliseconds| (f64::from(milliseconds) * 1e6) as u64)
    }
}

impl fmt::Debug for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.0.name, self.arch())
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // SAFETY: nothing is left that uses them: whatever does holds the device.
        unsafe {
            if result::ctx::set_current(self.context).is_ok() {
                let _ = result::stream::destroy(self.stream);
            }
            let _ = result::primary_ctx::release(self.device);
        }
    }
}

impl DeviceBlock {
    pub fn pointer(&self) -> *mut u8 {
        std::ptr::without_provenance_mut(self.pointer as usize)
    }

    pub fn len(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

impl Drop for DeviceBlock {
    fn drop(&mut self) {
        if self.bytes > 0 && self.device.wait().is_ok() {
            // SAFETY: the memory is this block's own, and no work is left that uses it.
            let _ = unsafe { result::free_sync(self.pointer) };
        }
    }
}

impl fmt::Debug for Kernels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} kernels in {} modules", self.functions.len(), self.modules.len())
    }
}

impl Drop for Kernels {
    fn drop(&mut self) {
        if self.device.wait().is_ok() {
            for module in &self.modules {
                // SAFETY: the module is this value's own, and no kernel of it runs.
                let _ = unsafe { result::module::unload(*module) };
            }
        }
    }
}

impl Graph {
    /// Starts all of it, after all work before.
    pub fn launch(&self) -> Result<()> {
        self.device.enter()?;
        // SAFETY: graph and stream live as long as `self`.
        unsafe { result::graph::launch(self.ready, self.device.0.stream) }
            .map_err(|e| failed("start its work", e))
    }
}

impl fmt::Debug for Graph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Graph")
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        if self.device.wait().is_ok() {
            // SAFETY: the graph is this value's own, and does not run.
            let _ = unsafe { result::graph::exec_destroy(self.ready) };
        }
    }
}

impl Staging {
    pub fn len(&self) -> usize {
        self.bytes
    }

    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// The memory, as soon as the device has read what was last sent from it.
    pub fn bytes_mut(&mut self) -> Result<&mut [u8]> {
        self.device.enter()?;
        // SAFETY: the event and the memory are this value's own.
        unsafe {
            result::event::synchronize(self.read).map_err(|e| failed("read its data", e))?;
            Ok(std::slice::from_raw_parts_mut(self.start, self.bytes))
        }
    }

    /// Sends a part of the memory to the device while this process goes on. [`Staging::sent`] marks the end of several.
    ///
    /// # Safety
    /// As many bytes are there on the device.
    pub unsafe fn send(&self, to: *mut u8, part: std::ops::Range<usize>) -> Result<()> {
        if part.end > self.bytes || part.is_empty() {
            return Ok(());
        }
        // SAFETY: the part is within the memory, which nobody changes before the event.
        unsafe {
            let from = std::slice::from_raw_parts(self.start.add(part.start), part.len());
            result::memcpy_htod_async(to.addr() as u64, from, self.device.0.stream)
        }
        .map_err(|e| failed("take data", e))
    }

    /// Marks that all that was sent is to be read before the memory changes.
    pub fn sent(&self) -> Result<()> {
        // SAFETY: event and stream live as long as `self`.
        unsafe { result::event::record(self.read, self.device.0.stream) }
            .map_err(|e| failed("mark its data", e))
    }
}

impl fmt::Debug for Staging {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} locked bytes", self.bytes)
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.device.wait().is_ok() {
            // SAFETY: memory and event are this value's own, and the device has done all its work.
            unsafe {
                let _ = result::event::destroy(self.read);
                let _ = result::free_host(self.start.cast());
            }
        }
    }
}
