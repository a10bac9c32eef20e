"""Makes from one ONNX export what every peer runs: whole and split, float and int8.

    prepare.py [--instructions] NETWORK.onnx PICTURES OUT

Everything is 256x256. In OUT appear

    whole.onnx        picture, mask -> output
    split.onnx        the same from the attention maps on: the maps are inputs
    phases-*.onnx     both with transposed convolutions as convolutions, which is how
                      runtimes without an integer ConvTranspose get one
    smooth-whole.onnx whole.onnx with attention that has no branch: for runtimes without
                      `Where`, and faster in some (tract), slower in others
    conv-*.onnx, more-*.onnx
                      static QDQ quantisation of phases-*.onnx: unsigned 8-bit activations,
                      signed 8-bit weights by channel, ranges from PICTURES; of the
                      convolutions alone, or of what lies between them too
    nncf-*.xml        OpenVINO's own quantiser on phases-*.onnx, same PICTURES
    integer-whole.onnx
                      integer convolutions as operators of their own (QLinearConv), without
                      branches: what tract has integer arithmetic for
    picture.npy, mask.npy, maps.npz, reference.npy
                      the picture and mask of all measurements, and ONNX Runtime's f32 answer
    picture.png, mask.png, round.png
                      the same for lbam-edge, and a round hole of 5 %

With --instructions only what benches/instructions counts with: nothing quantised but
integer-whole.onnx, which is made with no other option.
"""

import logging
import math
import pathlib
import platform
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

SIDE = 256
# Share of the picture that the common mask hides; no peer's time depends on it.
HOLE = 0.2
ROUND_HOLE = 0.05


def central_square(path):
    """As `lbam-desk calibrate` cuts pictures: RGB in 0..1, [1, 3, SIDE, SIDE]."""
    picture = Image.open(path).convert("RGB")
    side = min(picture.size)
    left, top = (picture.width - side) // 2, (picture.height - side) // 2
    picture = picture.crop((left, top, left + side, top + side))
    return picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def as_input(picture):
    return np.asarray(picture, dtype=np.float32).transpose(2, 0, 1)[None] / np.float32(255)


def square_mask(ratio, x=None, y=None):
    """1 = known, one square hole."""
    mask = np.ones((1, 1, SIDE, SIDE), np.float32)
    side = round(SIDE * math.sqrt(ratio))
    x = (SIDE - side) // 2 if x is None else x
    y = (SIDE - side) // 2 if y is None else y
    mask[:, :, y : y + side, x : x + side] = 0
    return mask


def round_mask(ratio):
    radius = SIDE * math.sqrt(ratio / math.pi)
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5 - SIDE / 2
    return (x * x + y * y > radius * radius).astype(np.float32)[None, None]


def save_mask(mask, path):
    Image.fromarray(((1 - mask[0, 0]) * 255).astype(np.uint8)).save(path)


def fixed_size(model):
    """One size instead of free ones, and one output: the network's picture."""
    for value in model.graph.input:
        for dim, size in zip(value.type.tensor_type.shape.dim[2:], (SIDE, SIDE)):
            dim.ClearField("dim_param")
            dim.dim_value = size
    del model.graph.output[1:]
    wanted = {"output"}
    kept = []
    for node in reversed(model.graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    dims = model.graph.output[0].type.tensor_type.shape.dim
    for dim, size in zip(dims, (1, 3, SIDE, SIDE)):
        dim.ClearField("dim_param")
        dim.dim_value = size
    return onnx.shape_inference.infer_shapes(model)


def map_names(model):
    return [node.output[0] for node in model.graph.node if node.output[0].endswith(".map")]


def split(model, path):
    """The frame stage: attention maps are inputs."""
    inputs = ["picture", "mask"] + map_names(model)
    extractor = onnx.utils.Extractor(model)
    onnx.save(extractor.extract_model(inputs, ["output"]), path)


def phase_kernel(kernel, row, column):
    """Of a ConvTranspose kernel [in, out, 4, 4] with stride 2 and padding 1, the 2x2 convolution
    [out, in, 2, 2] that makes the output pixels of one phase."""
    taps = ([3, 1], [2, 0])
    return kernel[:, :, taps[row], :][:, :, :, taps[column]].transpose(1, 0, 2, 3)


def whole_kernel(kernel):
    """All four phases as one 3x3 convolution [4 * out, in, 3, 3], zeros where a phase has no tap."""
    inputs, outputs = kernel.shape[:2]
    whole = np.zeros((4, outputs, inputs, 3, 3), np.float32)
    for row in range(2):
        for column in range(2):
            phase = phase_kernel(kernel, row, column)
            whole[2 * row + column, :, :, row : row + 2, column : column + 2] = phase
    return whole.reshape(4 * outputs, inputs, 3, 3)


def with_phases(model):
    """Every ConvTranspose as four 2x2 convolutions, the last one, which has few channels, as one
    3x3 convolution; DepthToSpace puts the phases in their places."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    gone, nodes = set(), []
    for node in model.graph.node:
        if node.op_type != "ConvTranspose":
            nodes.append(node)
            continue
        (source, name), output = node.input, node.output[0]
        kernel = values[name]
        gone.add(name)
        phases = output + ".phases"

        def conv(weights, target, pads):
            stored = target + ".weight"
            model.graph.initializer.append(
                numpy_helper.from_array(np.ascontiguousarray(weights), stored)
            )
            shape = list(weights.shape[2:])
            nodes.append(
                helper.make_node(
                    "Conv", [source, stored], [target], target, kernel_shape=shape, pads=pads
                )
            )

        if kernel.shape[1] < 8:
            conv(whole_kernel(kernel), phases, [1, 1, 1, 1])
        else:
            parts = []
            for row in range(2):
                for column in range(2):
                    part = f"{phases}{row}{column}"
                    pads = [1 - row, 1 - column, row, column]
                    conv(phase_kernel(kernel, row, column), part, pads)
                    parts.append(part)
            nodes.append(helper.make_node("Concat", parts, [phases], phases, axis=1))
        nodes.append(
            helper.make_node("DepthToSpace", [phases], [output], output, blocksize=2, mode="DCR")
        )
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    kept = [t for t in model.graph.initializer if t.name not in gone]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model)


def branch_free(model):
    """Attention without `Where`, and a power that no runtime takes the logarithm of 0 for:

        gA(m) = a exp(-s1 relu(mu - m)^2) + (1 - a) (1 - exp(-s2 relu(m - mu)^2))

    equals the definition on both sides of mu."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    values = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    nodes = []

    def constant(name, value):
        model.graph.initializer.append(numpy_helper.from_array(np.float32(value), name))
        return name

    # Far below what is seen, far above what squares to 0.
    constant("tiny", 1e-12)
    replaced = ("above", "sigma", "squared", "scaled", "exponent", "gaussian", "below_peak",
                "rest", "above_peak")
    for node in model.graph.node:
        prefix, _, suffix = node.output[0].rpartition(".")
        if suffix in replaced and prefix:
            continue
        if suffix == "map":
            scalar = {key: float(values[f"{prefix}.{key}"].ravel()[0])
                      for key in ("a", "sigma1", "sigma2")}

            def add(operator, inputs, output):
                nodes.append(helper.make_node(operator, inputs, [output], output))
                return output

            distance = f"{prefix}.distance"
            sides = []
            for side, sigma in (("low", "sigma1"), ("high", "sigma2")):
                name = f"{prefix}.{side}"
                start = distance
                if side == "low":
                    start = add("Neg", [distance], f"{name}.turned")
                cut = add("Relu", [start], f"{name}.cut")
                square = add("Mul", [cut, cut], f"{name}.square")
                sigma = constant(f"{name}.minus_sigma", -scalar[sigma])
                scaled = add("Mul", [square, sigma], f"{name}.scaled")
                power = add("Exp", [scaled], f"{name}.gaussian")
                share = scalar["a"] if side == "low" else scalar["a"] - 1
                share = constant(f"{name}.share", share)
                sides.append(add("Mul", [power, share], f"{name}.shared"))
            both = add("Add", sides, f"{prefix}.both")
            rest = constant(f"{prefix}.one_less_a", 1 - scalar["a"])
            add("Add", [both, rest], f"{prefix}.map")
        elif node.op_type == "Pow":
            raised = node.output[0] + ".raised"
            nodes.append(helper.make_node("Add", [node.input[0], "tiny"], [raised], raised))
            nodes.append(helper.make_node("Pow", [raised, node.input[1]], node.output, node.name))
        else:
            nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    del model.graph.value_info[:]
    return onnx.shape_inference.infer_shapes(model)


def session(path, threads=1):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def maps_of(out):
    model = onnx.load(out / "whole.onnx")
    names = map_names(model)
    extractor = onnx.utils.Extractor(model)
    onnx.save(extractor.extract_model(["mask"], names), out / "maps.onnx")
    maps = session(out / "maps.onnx")
    return lambda mask: dict(zip(names, maps.run(names, {"mask": mask})))


def calibration_inputs(pictures, maps):
    """Pictures under square holes of 10 to 50 % at places that a seed draws."""
    draw = np.random.default_rng(1)
    whole, splits = [], []
    for picture in pictures:
        ratio = draw.uniform(0.1, 0.5)
        room = SIDE - round(SIDE * math.sqrt(ratio))
        mask = square_mask(ratio, *draw.integers(0, room + 1, 2))
        whole.append({"picture": picture, "mask": mask})
        splits.append({"picture": picture, "mask": mask, **maps(mask)})
    return {"whole": whole, "split": splits}


def mask_only(model):
    """Names of the nodes between convolutions of the mask stage: exponentials and powers, whose
    ranges 8 bits do not hold."""
    seen = {"picture"}
    names = []
    for node in model.graph.node:
        if seen & set(node.input):
            seen |= set(node.output)
        elif node.op_type != "Conv":
            names.append(node.name)
    return names


def quantise_in_onnx(source, target, inputs, operators, as_operators=False):
    """`as_operators`: integer operators instead of float ones between QDQ pairs."""
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.left = iter(inputs)

        def get_next(self):
            return next(self.left, None)

    quantize_static(
        str(source),
        str(target),
        Reader(),
        quant_format=QuantFormat.QOperator if as_operators else QuantFormat.QDQ,
        op_types_to_quantize=operators,
        nodes_to_exclude=mask_only(onnx.load(source)),
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        calibrate_method=CalibrationMethod.MinMax,
        reduce_range=not sums_without_saturation(),
    )


def sums_without_saturation():
    """Whether ONNX Runtime's integer products are exact here: without VNNI it adds pairs of them
    in 16 bits, where weights of 8 bits overflow, and its documentation asks for 7."""
    if platform.machine() != "x86_64":
        return True
    return "_vnni" in pathlib.Path("/proc/cpuinfo").read_text()


def quantise_nncf(source, target, inputs):
    import nncf
    import openvino

    model = openvino.Core().read_model(source)
    names = set(mask_only(onnx.load(source)))
    left_alone = [op.get_friendly_name() for op in model.get_ordered_ops()]
    left_alone = [name for name in left_alone if name in names]
    quantised = nncf.quantize(
        model,
        nncf.Dataset(inputs),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(inputs),
        ignored_scope=nncf.IgnoredScope(names=left_alone, validate=False),
    )
    openvino.save_model(quantised, target, compress_to_fp16=False)


def main():
    arguments = sys.argv[1:]
    for_instructions = "--instructions" in arguments
    if for_instructions:
        arguments.remove("--instructions")
    network, pictures, out = (pathlib.Path(argument) for argument in arguments)
    out.mkdir(parents=True, exist_ok=True)
    # The quantisers advise to prepare what is prepared already.
    logging.disable(logging.WARNING)
    model = fixed_size(onnx.load(network))
    onnx.save(model, out / "whole.onnx")
    smooth = branch_free(model)
    onnx.save(smooth, out / "smooth-whole.onnx")
    split(model, out / "split.onnx")
    for form in ("whole", "split"):
        onnx.save(with_phases(onnx.load(out / f"{form}.onnx")), out / f"phases-{form}.onnx")

    files = sorted(path for path in pictures.iterdir() if path.is_file())
    squares = [central_square(path) for path in files]
    # The first picture is the one that is measured; the peers are not calibrated on it.
    squares[0].save(out / "picture.png")
    picture, mask = as_input(squares[0]), square_mask(HOLE)
    save_mask(mask, out / "mask.png")
    save_mask(round_mask(ROUND_HOLE), out / "round.png")
    maps = maps_of(out)
    np.save(out / "picture.npy", picture)
    np.save(out / "mask.npy", mask)
    np.savez(out / "maps.npz", **maps(mask))
    reference = session(out / "whole.onnx").run(None, {"picture": picture, "mask": mask})[0]
    np.save(out / "reference.npy", reference)

    inputs = calibration_inputs([as_input(square) for square in squares[1:]], maps)
    if for_instructions:
        source = out / "phases-smooth-whole.onnx"
        onnx.save(with_phases(smooth), source)
        target = out / "integer-whole.onnx"
        quantise_in_onnx(source, target, inputs["whole"], ["Conv"], as_operators=True)
        return
    variants = {
        "conv": ["Conv"],
        "more": ["Conv", "Mul", "LeakyRelu", "Concat", "DepthToSpace"],
    }
    for form in ("whole", "split"):
        source = out / f"phases-{form}.onnx"
        for variant, operators in variants.items():
            quantise_in_onnx(source, out / f"{variant}-{form}.onnx", inputs[form], operators)
        quantise_nncf(source, out / f"nncf-{form}.xml", inputs[form])


if __name__ == "__main__":
    main()
