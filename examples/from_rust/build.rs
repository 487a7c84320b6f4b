//! Links the model's library, from the folder that CMake names.

fn main() {
    println!("cargo:rerun-if-env-changed=SCORER_LIBRARY_DIR");
    let folder = std::env::var("SCORER_LIBRARY_DIR")
        .expect("SCORER_LIBRARY_DIR names the folder of libscorer.so; build by CMake, which sets it");
    println!("cargo:rustc-link-search=native={folder}");
    println!("cargo:rustc-link-lib=dylib=scorer");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{folder}");
}
