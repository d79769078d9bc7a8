"""GELU, its tanh approximation and the exact form, forward and backward; the variant is a gated GELU."""

import math
from dataclasses import replace
from functools import partial

import numpy as np

from scratchgpt.homework.spec import Call, Exercise, Output, pair
from scratchgpt.ops.reference import GELU_CUBIC, SQRT_2_OVER_PI, gelu_backward, gelu_forward, normal_cdf

# GELU(x) = x (1 + T) / 2 with T = tanh(u) or erf(x / sqrt(2)); u = a x + b x^2 + c x^3
K, C = SQRT_2_OVER_PI, GELU_CUBIC
CUBICS = {
    "": (K, 0, K * C), "2/pi": (K * K, 0, K * K * C), "sqrt(pi/2)": (1 / K, 0, C / K), "no root": (1, 0, C),
    "no cubic": (K, 0, 0), "0.44715": (K, 0, 10 * K * C), "square": (K, K * C, 0), "outside": (K, 0, C),
    "sigmoid": (1.702 / 2, 0, 0),
}  # fmt: skip
U = {
    "2/pi": "the square root of 2/pi is missing in u",
    "sqrt(pi/2)": "sqrt(pi/2) stands where sqrt(2/pi) belongs",
    "no root": "the factor sqrt(2/pi) of u is missing",
    "no cubic": "the cubic term 0.044715 x^3 is missing in u",
    "0.44715": "0.44715 stands where 0.044715 belongs",
    "square": "0.044715 is multiplied by x^2; it belongs to x^3",
    "outside": "sqrt(2/pi) multiplies x alone; it belongs to x + 0.044715 x^3",
    "sigmoid": "this is x sigmoid(1.702 x), another approximation of GELU",
}


def inputs(draw, B, T, C):
    return {
        "x": draw.normal(B, T, C, scale=1.5), "approximate_tanh": "tanh", "approximate_exact": "none",
        "dout": draw.normal(B, T, C, shift=0.5),
    }  # fmt: skip


def half(x, form, u="", cached="", slope="", inner="", argument="", density=""):
    """T and dT/dx."""
    if form == "exact":
        z = {"x": math.sqrt(2) * x, "x/2": x / math.sqrt(2)}.get(argument, x)
        exponent = {"no half": -x * x, "plus": x * x / 2}.get(density, -x * x / 2)
        norm = {"no norm": 1, "no root": 2 * math.pi, "inner": math.sqrt(math.pi)}.get(density, math.sqrt(2 * math.pi))
        return 2 * normal_cdf(z) - 1, 2 * np.exp(exponent) / norm
    a, b, c = CUBICS[u]
    tanh = np.tanh(np.polyval((*CUBICS[cached or u][::-1], 0), x))
    du = a + 2 * b * x + 3 * c * x * x
    by_inner = {
        "missing": np.nan if cached else 1,  # without du, "cached" is "u" in other words
        "no 3": a + c * x * x, "linear": a, "no constant": du / K, "x": a + 3 * c * x,
    }  # fmt: skip
    dtanh = {"plus": 1 + tanh**2, "no square": 1 - tanh, "tanh": tanh}.get(slope, 1 - tanh**2)
    return tanh, dtanh * by_inner.get(inner, du)


def out(case, form, term, front="", **flavour):
    x = case["x"]
    x_in_front = np.ones_like(x) if front == "missing" else x
    return {"x / 2": x_in_front / 2, term: x_in_front * half(x, form, **flavour)[0] / 2}


def dx(case, form, first="", x="", dout="", **flavour):
    t, dt = half(case["x"], form, **flavour)
    d = np.ones_like(t) if dout == "missing" else case["dout"]
    phi = {"no 1": t / 2, "out": case["x"] * (1 + t) / 2}.get(first, (1 + t) / 2)
    return {"Phi(x)": d * phi, "x Phi'(x)": d * (1 if x == "missing" else case["x"]) * dt / 2}


TANH_KNOBS = {"u": U, "form": {"exact": 'this is the exact form; approximate="tanh" asks for the approximation'}}
CACHED = {"cached": {name: f"in the tanh kept from forward, {text}" for name, text in U.items()}}
SLOPE = {
    "slope": {
        "plus": "the derivative of tanh is 1 - tanh^2, not 1 + tanh^2",
        "no square": "the derivative of tanh is 1 - tanh^2; the square is missing",
        "tanh": "the derivative of tanh is 1 - tanh^2, not tanh",
    },
    "inner": {
        "missing": "the inner derivative du/dx is missing (chain rule)",
        "no 3": "the derivative of x^3 is 3 x^2; the 3 is missing",
        "linear": "the cubic term is missing in du/dx",
        "no constant": "the factor sqrt(2/pi) is missing in du/dx",
        "x": "the derivative of x^3 is 3 x^2, not 3 x",
    },
}
ERF_KNOBS = {
    "argument": {"x": "it is erf(x); GELU has erf(x / sqrt(2))", "x/2": "it is erf(x / 2); GELU has erf(x / sqrt(2))"},
    "form": {"tanh": 'this is the tanh approximation; approximate="none" asks for the exact form'},
}
DENSITY = {
    "density": {
        "no half": "the exponent of the normal density is -x^2 / 2; the half is missing",
        "plus": "the exponent of the normal density is -x^2 / 2; the minus is missing",
        "no norm": "the normal density is divided by sqrt(2 pi); that is missing",
        "no root": "the normal density is divided by sqrt(2 pi), not by 2 pi",
        "inner": "the normal density is divided by sqrt(2 pi), not by sqrt(pi): erf(x / sqrt(2)) has the inner "
        "derivative 1/sqrt(2)",
    }
}
FRONT = {"front": {"missing": "the factor x in front is missing (that is Phi(x))"}}
PRODUCT = {
    "first": {
        "no 1": "the 1 + is missing in the term Phi(x)",
        "out": "x Phi(x) stands where Phi(x) belongs: the derivative of x is 1",
    },
    "x": {"missing": "the factor x is missing before Phi'(x) (product rule)"},
    "dout": {"missing": "dout is missing (chain rule)"},
}
HALVES = {"2": "a factor 1/2 is missing", "1/2": "there is one factor 1/2 too many"}
TANH, ERF = "x tanh(u) / 2", "x erf(x / sqrt(2)) / 2"
OUT_TANH, OUT_ERF = {"x / 2": 1, TANH: 1}, {"x / 2": 1, ERF: 1}
SUM = {"Phi(x)": 1, "x Phi'(x)": 1}
BOUNDS = (
    (lambda out, case: (np.abs(out - case["x"] / 2) <= np.abs(case["x"] / 2)).all(), "x Phi(x) lies between 0 and x"),
)
STEEP = (
    (lambda dx, case: (np.abs(dx) <= 1.13 * np.abs(case["dout"])).all(),
     "the slope of GELU lies between -0.13 and 1.13, so dx is hardly larger than dout"),
)  # fmt: skip

EXERCISE = Exercise(
    name="gelu",
    title="GELU, approximate and exact, forward and backward",
    task="""GELU(x) = x Phi(x) (Hendrycks & Gimpel 2016, section 2), element by element, for x (B, T, C). Phi(x) is
(1 + erf(x / sqrt(2))) / 2 with approximate="none" and (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2 with "tanh".

NumPy has no erf: normal_cdf is given, math.erf does it for one number.
""",
    cut=(gelu_forward, gelu_backward),
    inputs=inputs,
    calls=lambda case: (
        Call("gelu_forward", ("x", "approximate_tanh"), ("out_tanh", "cache_tanh")),
        Call("gelu_backward", ("dout", "cache_tanh"), ("dx_tanh",)),
        Call("gelu_forward", ("x", "approximate_exact"), ("out_exact", "cache_exact")),
        Call("gelu_backward", ("dout", "cache_exact"), ("dx_exact",)),
    ),
    outputs=(
        Output("out_tanh", partial(out, form="tanh", term=TANH), OUT_TANH, TANH_KNOBS | FRONT, HALVES, BOUNDS),
        Output("dx_tanh", partial(dx, form="tanh"), SUM, TANH_KNOBS | CACHED | SLOPE | PRODUCT, HALVES, STEEP),
        Output("out_exact", partial(out, form="exact", term=ERF), OUT_ERF, ERF_KNOBS | FRONT, HALVES, BOUNDS),
        Output("dx_exact", partial(dx, form="exact"), SUM, ERF_KNOBS | DENSITY | PRODUCT, HALVES, STEEP),
    ),
    sizes=({"B": 2, "T": 3, "C": 5}, {"B": 3, "T": 2, "C": 7}, {"B": 2, "T": 5, "C": 4}, {"B": 5, "T": 4, "C": 3}),
    small=({"B": 1, "T": 1, "C": 1}, {"B": 1, "T": 1, "C": 2}),
    readable=lambda case: case["approximate_tanh"] == "tanh" and case["approximate_exact"] == "none",
    ops=("gelu_forward", "gelu_backward"),
)  # fmt: skip


# ---- the variant: a gate


def geglu_forward(gate, value):
    """out = GELU(gate) * value, GELU by its tanh formula (Shazeer 2020, section 2). All arrays (B, T, C)."""
    hidden, cache = gelu_forward(gate)
    return hidden * value, (hidden, value, cache)


def geglu_backward(dout, cache):
    """Returns dgate and dvalue, (B, T, C)."""
    hidden, value, gelu_cache = cache
    return gelu_backward(dout * value, gelu_cache), dout * hidden


def gated_inputs(draw, **sizes):
    case = inputs(draw, **sizes)
    return {"gate": case["x"], "value": draw.normal(*case["x"].shape), "dout": case["dout"]}


def gated(case, gate="gate"):
    """The case as GELU's own: x is the gate."""
    return case | {"x": case[gate]}


def gated_out(case, gate="gate", **flavour):
    factor = case["value" if gate == "gate" else "gate"]
    return {name: term * factor for name, term in out(gated(case, gate), "tanh", TANH, **flavour).items()}


def dgate(case, value="", **flavour):
    factor = 1 if value == "missing" else case["value"]
    return dx(gated(case) | {"dout": case["dout"] * factor}, "tanh", **flavour)


def dvalue(case, hidden="", u=""):
    if hidden == "slope":
        return sum(dx(gated(case), "tanh", u=u).values())
    return case["dout"] * (case["gate"] if hidden == "gate" else sum(out(gated(case), "tanh", TANH, u=u).values()))


GEGLU = replace(
    EXERCISE,
    title="GEGLU, forward and backward",
    task="""GEGLU (Shazeer 2020, section 2), element by element: out = GELU(gate) * value for gate and value (B, T, C),
with GELU(x) = x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2 (Hendrycks & Gimpel 2016, section 2).
""",
    cut=(geglu_forward, geglu_backward),
    inputs=gated_inputs,
    calls=lambda case: pair("geglu", ("gate", "value")),
    outputs=(
        Output(
            "out", gated_out, OUT_TANH,
            {"u": U, "gate": {"value": "GELU is applied to value; it belongs to gate"}} | FRONT, HALVES,
        ),
        Output(
            "dgate", dgate, SUM,
            {"u": U, "value": {"missing": "the factor value is missing"}} | CACHED | SLOPE | PRODUCT, HALVES,
        ),
        Output(
            "dvalue", dvalue, scales=HALVES,
            knobs={
                "u": U,
                "hidden": {
                    "gate": "gate stands where GELU(gate) belongs",
                    "slope": "the derivative of GELU stands where GELU(gate) belongs",
                },
            },
        ),
    ),
    readable=lambda case: True,
    ops=(),
)  # fmt: skip
EXERCISE = replace(EXERCISE, variants={"geglu": GEGLU})
