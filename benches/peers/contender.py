"""One runtime with one model and one number of threads, timed on request.

    contender.py RUNTIME MODEL THREADS WORK

Prints one JSON line when the first output is there, then one for each line `run SECONDS` on
standard input: the times of that many seconds' runs. Pictures go in as the runtime likes them
(32-bit floats, channel planes); turning a camera's bytes into that is not counted against it.
"""

import json
import pathlib
import sys
import time

begun = time.perf_counter()

import numpy as np  # noqa: E402

WORK = pathlib.Path(sys.argv[4])


def inputs(names):
    known = {"picture": WORK / "picture.npy", "mask": WORK / "mask.npy"}
    maps = np.load(WORK / "maps.npz")
    return {name: np.load(known[name]) if name in known else maps[name] for name in names}


def onnx_runtime(path, threads):
    import onnxruntime

    loaded = time.perf_counter()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    created = time.perf_counter()
    given = inputs([value.name for value in session.get_inputs()])
    values = {k: onnxruntime.OrtValue.ortvalue_from_numpy(v) for k, v in given.items()}
    return loaded, created, lambda: session.run_with_ort_values(["output"], values)[0].numpy()


def openvino(path, threads):
    import openvino

    loaded = time.perf_counter()
    core = openvino.Core()
    settings = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        # Floats stay floats: bfloat16 would be another network.
        "INFERENCE_PRECISION_HINT": "f32",
        "ENABLE_CPU_PINNING": False,
    }
    compiled = core.compile_model(path, "CPU", settings)
    created = time.perf_counter()
    request = compiled.create_infer_request()
    for name, value in inputs([port.any_name for port in compiled.inputs]).items():
        request.set_tensor(name, openvino.Tensor(value))

    def run():
        request.infer()
        return request.get_output_tensor(0).data

    return loaded, created, run


def ncnn(path, threads):
    import ncnn as library

    loaded = time.perf_counter()
    net = library.Net()
    net.opt.num_threads = threads
    net.opt.use_vulkan_compute = False
    net.opt.use_fp16_storage = net.opt.use_fp16_packed = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    net.load_param(path)
    net.load_model(path.removesuffix("param") + "bin")
    created = time.perf_counter()
    given = inputs(["picture", "mask"])
    picture, mask = (library.Mat(given[name][0]).clone() for name in ("picture", "mask"))

    def run():
        extractor = net.create_extractor()
        extractor.input("in0", picture)
        extractor.input("in1", mask)
        return np.array(extractor.extract("out0")[1])[None]

    return loaded, created, run


def tract(path, threads):
    """Its Python binding runs on one thread."""
    import tract as library

    loaded = time.perf_counter()
    model = library.onnx().load(path)
    names = [model.input_name(index) for index in range(model.input_count())]
    given = [library.Tensor.from_numpy(value) for value in inputs(names).values()]
    runnable = model.into_model().into_runnable()
    created = time.perf_counter()
    return loaded, created, lambda: runnable.run(given)[0].to_numpy()


def peak_memory_mib():
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return None


def main():
    runtime, path, threads = sys.argv[1], sys.argv[2], int(sys.argv[3])
    makers = {"onnxruntime": onnx_runtime, "openvino": openvino, "ncnn": ncnn, "tract": tract}
    loaded, created, run = makers[runtime](path, threads)
    first = time.perf_counter()
    output = np.array(run())
    done = time.perf_counter()
    reference = np.load(WORK / "reference.npy")
    error = output - reference
    report = {
        "import_ms": (loaded - begun) * 1e3,
        "create_ms": (created - loaded) * 1e3,
        "first_run_ms": (done - first) * 1e3,
        "rss_mib": peak_memory_mib(),
        "worst_error": float(np.abs(error).max()),
        "psnr": float(-10 * np.log10(np.mean(error.astype(np.float64) ** 2) + 1e-20)),
    }
    print(json.dumps(report), flush=True)
    for line in sys.stdin:
        until = time.perf_counter() + float(line.split()[1])
        times = []
        # The first run after a pause finds cold caches and sleeping threads.
        run()
        while time.perf_counter() < until or len(times) < 5:
            start = time.perf_counter()
            run()
            times.append((time.perf_counter() - start) * 1e3)
        print(json.dumps(times), flush=True)


if __name__ == "__main__":
    main()
