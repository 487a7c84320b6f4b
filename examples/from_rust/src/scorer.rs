//! A safe wrapper of the model's C ABI.

use std::ffi::{c_char, c_void, CStr};
use std::ptr::{null, null_mut};

const CPU: i32 = 1;
const FLOAT: u8 = 2;
pub const FEATURES: usize = 8;

#[repr(C)]
#[derive(Clone, Copy)]
struct Device {
    kind: i32,
    index: i32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Dtype {
    code: u8,
    bits: u8,
    lanes: u16,
}

#[repr(C)]
struct Tensor {
    data: *mut c_void,
    device: Device,
    ndim: i32,
    dtype: Dtype,
    shape: *mut i64,
    strides: *mut i64,
    byte_offset: u64,
}

#[repr(C)]
struct Handle {
    _opaque: [u8; 0],
}

extern "C" {
    fn scorer_create(options: *const c_void, model: *mut *mut Handle) -> i32;
    fn scorer_run(
        model: *mut Handle,
        inputs: *const Tensor,
        input_count: usize,
        outputs: *mut Tensor,
        output_count: usize,
        result: *mut *mut c_void,
    ) -> i32;
    fn scorer_destroy(model: *mut Handle);
    fn scorer_last_error() -> *const c_char;
}

/// A loaded model; any number of threads may call it.
pub struct Scorer(*mut Handle);

unsafe impl Send for Scorer {}
unsafe impl Sync for Scorer {}

impl Scorer {
    pub fn new() -> Result<Self, String> {
        let mut handle = null_mut();
        check(unsafe { scorer_create(null(), &mut handle) })?;
        Ok(Self(handle))
    }

    /// The score of each row of `FEATURES` numbers.
    pub fn score(&self, rows: &[[f32; FEATURES]]) -> Result<Vec<f32>, String> {
        let mut scores = vec![0.0_f32; rows.len()];
        let mut shape = [rows.len() as i64, FEATURES as i64];
        let input = tensor(rows.as_ptr() as *mut c_void, 2, &mut shape);
        let mut output = tensor(scores.as_mut_ptr().cast(), 1, &mut shape);
        check(unsafe { scorer_run(self.0, &input, 1, &mut output, 1, null_mut()) })?;
        Ok(scores)
    }
}

impl Drop for Scorer {
    fn drop(&mut self) {
        unsafe { scorer_destroy(self.0) }
    }
}

fn tensor(data: *mut c_void, ndim: i32, shape: &mut [i64; 2]) -> Tensor {
    Tensor {
        data,
        device: Device { kind: CPU, index: 0 },
        ndim,
        dtype: Dtype { code: FLOAT, bits: 32, lanes: 1 },
        shape: shape.as_mut_ptr(),
        strides: null_mut(),
        byte_offset: 0,
    }
}

/// The message is the thread's own, and is read before its next call.
fn check(status: i32) -> Result<(), String> {
    if status == 0 {
        return Ok(());
    }
    Err(unsafe { CStr::from_ptr(scorer_last_error()) }.to_string_lossy().into_owned())
}
