"""`scratchgpt generate`: what a T5 says for a text, and the text with its blanks filled in.

Thank you <extra_id_0> me to your party   ->   <extra_id_0> for inviting <extra_id_1>
                                               Thank you for inviting me to your party
"""

import re

from scratchgpt import interop
from scratchgpt.backend import silence_float_warnings
from scratchgpt.errors import InputError
from scratchgpt.models.t5 import T5
from scratchgpt.objectives import fill_spans, sentinel_ids
from scratchgpt.sampling import generate_output


def add_arguments(parser):
    parser.add_argument("directory", metavar="DIR", help="a run's directory, or a Hugging Face T5 whose tokenizer is "
                        "byte-level BPE (SentencePiece is not read)")  # fmt: skip
    parser.add_argument("--text", required=True, metavar="TEXT", help="what the encoder reads; blanks to fill in are "
                        "<extra_id_0>, <extra_id_1>, ... in this order")  # fmt: skip
    parser.add_argument("--plain", action="store_true", help="the text has no blanks: the model was finetuned to "
                        "answer it as it is")  # fmt: skip
    parser.add_argument(
        "--max-tokens", type=int, default=100, metavar="N", help="of the output, at most (default: 100)"
    )
    parser.add_argument("--temperature", type=float, default=0.0, metavar="X", help="above 0 tokens are drawn, above 1 "
                        "more at random; 0 takes the most likely one (default: 0)")  # fmt: skip
    parser.add_argument("--top-k", type=int, metavar="N", help="draw from the N most likely tokens only")
    parser.add_argument(
        "--top-p", type=float, metavar="P", help="draw from the likeliest tokens that together reach probability P"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="fixes the draws (default: 0)")
    parser.add_argument("--no-cache", action="store_true", help="run the whole model for each token: same, but slower")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"), help="where to compute (default: cpu)")


def main(args):
    model = interop.load(args.directory, device=args.device)
    if not isinstance(model, T5):
        raise InputError(f"{args.directory} holds a {type(model).__name__}; expected a T5 (scratchgpt sample continues "
                         "a prompt with a GPT)")  # fmt: skip
    tokenizer = interop.load_tokenizer(args.directory)
    sentinels = [] if args.plain else sentinels_of(args.text, tokenizer)
    ids = [*read_text(args.text, tokenizer), model.config.eos_id]
    with silence_float_warnings(model.xp):  # a diverged model is asked all the same
        output = list(generate_output(
            model, ids, args.max_tokens, args.temperature, args.top_k, args.top_p, args.seed, not args.no_cache
        ))  # fmt: skip
    print(tokenizer.decode(output))
    if sentinels:
        print(tokenizer.decode(fill_spans(ids[:-1], output, sentinels)))


def sentinels_of(text, tokenizer):
    """The ids of <extra_id_0>, <extra_id_1>, ... Raises InputError unless the text has blanks, which are the first of
    them in order, and there is one more, which ends an output."""
    found, known = re.findall(r"<extra_id_\d+>", text), sentinel_ids(tokenizer).tolist()
    if not found:
        raise InputError("the text has no blanks; put <extra_id_0>, <extra_id_1>, ... where something is to be filled "
                         "in, or give --plain if the model was finetuned to answer texts as they are")  # fmt: skip
    expected = [f"<extra_id_{number}>" for number in range(len(found))]
    if found != expected:
        raise InputError(f"the blanks of the text are {listed(found)}; expected {listed(expected)}, in this order")
    if len(found) >= len(known):
        raise InputError(f"the text has {len(found)} blanks; the tokenizer has {len(known)} sentinels, for "
                         f"{len(known) - 1} blanks and the end of the output")  # fmt: skip
    return known


def listed(names, most=3):
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def read_text(text, tokenizer):
    """The ids of a text, blanks recognised. Raises InputError when there are none."""
    ids = tokenizer.encode(text, [token for token in tokenizer.special_tokens if token.startswith("<extra_id_")])
    if not ids:
        raise InputError("--text is empty; the encoder reads at least one token")
    return ids
