"""Wrong backwards of every op, each a mistake that people make. The checks of test_ops must reject every one.

WRONG[op] = functions with the arguments of the op's backward, on the reference's caches; the name says what is wrong.
WRONG_ADAMW = functions with the arguments of adamw_step.
"""

import itertools
import math

import numpy as np

from scratchgpt.ops import reference
from scratchgpt.ops.reference import sum_to

# linear: cache (x, weight, has_bias)


def linear_dweight_of_the_last_batch_row_only(dout, cache):
    dx, _, dbias = reference.linear_backward(dout, cache)
    rows, inputs = (a if a.ndim == 2 else a[-1] for a in (dout, cache[0]))
    return dx, rows.T @ inputs, dbias


def linear_dbias_is_a_mean(dout, cache):
    dx, dweight, dbias = reference.linear_backward(dout, cache)
    return dx, dweight, None if dbias is None else dout.reshape(-1, dout.shape[-1]).mean(0)


def linear_dbias_not_summed_over_the_batch(dout, cache):
    dx, dweight, dbias = reference.linear_backward(dout, cache)
    return dx, dweight, None if dbias is None else dout.reshape(-1, dout.shape[-1])[0]


def linear_dweight_is_transposed(dout, cache):
    dx, dweight, dbias = reference.linear_backward(dout, cache)
    return dx, np.ascontiguousarray(dweight.T), dbias


def linear_dweight_divided_by_rows(dout, cache):
    dx, dweight, dbias = reference.linear_backward(dout, cache)
    return dx, dweight / (dout.size // dout.shape[-1]), dbias


def linear_dx_of_summed_dout(dout, cache):
    dx, dweight, dbias = reference.linear_backward(dout, cache)
    return np.broadcast_to(dx.mean(tuple(range(dx.ndim - 1))), dx.shape), dweight, dbias


def linear_bias_gradient_forgotten(dout, cache):
    dx, dweight, dbias = reference.linear_backward(dout, cache)
    return dx, dweight, None if dbias is None else 0 * dbias


# embedding: cache (ids, wte_shape, wpe_shape, start)


def embedding_last_use_of_a_token_wins(dout, cache):
    dwte, dwpe = reference.embedding_backward(dout, cache)
    dwte[cache[0]] = dout
    return dwte, dwpe


def embedding_repeated_ids_add_once(dout, cache):
    ids, wte_shape, _, _ = cache
    dwte = np.zeros(wte_shape)
    dwte[ids] += dout
    return dwte, reference.embedding_backward(dout, cache)[1]


def embedding_with_positions(change, dout, cache):
    """The right gradients with change(dwpe), where there are positions."""
    dwte, dwpe = reference.embedding_backward(dout, cache)
    return dwte, None if dwpe is None else change(dwpe)


def embedding_start_ignored(dout, cache):
    return embedding_with_positions(lambda dwpe: np.roll(dwpe, -cache[3], 0), dout, cache)


def embedding_positions_not_summed_over_the_batch(dout, cache):
    def first_row_alone(dwpe):
        dwpe[cache[3] : cache[3] + dout.shape[1]] = dout[0]
        return dwpe

    return embedding_with_positions(first_row_alone, dout, cache)


def embedding_positions_averaged_over_the_batch(dout, cache):
    return embedding_with_positions(lambda dwpe: dwpe / dout.shape[0], dout, cache)


def embedding_divided_by_the_number_of_uses(dout, cache):
    dwte, dwpe = reference.embedding_backward(dout, cache)
    uses = np.bincount(cache[0].ravel(), minlength=len(dwte))
    return dwte / np.maximum(uses, 1)[:, None], dwpe


def embedding_positions_forgotten(dout, cache):
    return embedding_with_positions(lambda dwpe: 0 * dwpe, dout, cache)


# layer_norm: cache (xhat, rstd, weight)


def layer_norm_terms(dout, cache):
    xhat, rstd, weight = cache
    dxhat = dout * weight
    return dxhat, dxhat.mean(-1, keepdims=True), xhat * (dxhat * xhat).mean(-1, keepdims=True), rstd


def layer_norm_with_dx(dx, dout, cache):
    return dx, *reference.layer_norm_backward(dout, cache)[1:]


def layer_norm_mean_term_missing(dout, cache):
    direct, _, variance, rstd = layer_norm_terms(dout, cache)
    return layer_norm_with_dx((direct - variance) * rstd, dout, cache)


def layer_norm_variance_term_missing(dout, cache):
    direct, mean, _, rstd = layer_norm_terms(dout, cache)
    return layer_norm_with_dx((direct - mean) * rstd, dout, cache)


def layer_norm_statistics_taken_as_constants(dout, cache):
    direct, _, _, rstd = layer_norm_terms(dout, cache)
    return layer_norm_with_dx(direct * rstd, dout, cache)


def layer_norm_gamma_missing_on_the_way_back(dout, cache):
    xhat, rstd, weight = cache
    dx, _, _ = reference.layer_norm_backward(dout, (xhat, rstd, np.ones_like(weight)))
    return layer_norm_with_dx(dx, dout, cache)


def layer_norm_rstd_missing(dout, cache):
    direct, mean, variance, _ = layer_norm_terms(dout, cache)
    return layer_norm_with_dx(direct - mean - variance, dout, cache)


def layer_norm_unbiased_variance(dout, cache):
    direct, mean, variance, rstd = layer_norm_terms(dout, cache)
    C = dout.shape[-1]
    return layer_norm_with_dx((direct - mean - variance * C / (C - 1)) * rstd, dout, cache)


def layer_norm_variance_term_with_the_wrong_sign(dout, cache):
    direct, mean, variance, rstd = layer_norm_terms(dout, cache)
    return layer_norm_with_dx((direct - mean + variance) * rstd, dout, cache)


def layer_norm_sums_for_means(dout, cache):
    direct, mean, variance, rstd = layer_norm_terms(dout, cache)
    return layer_norm_with_dx((direct - (mean + variance) * dout.shape[-1]) * rstd, dout, cache)


def layer_norm_means_over_the_rows(dout, cache):
    xhat, rstd, weight = cache
    direct = dout * weight
    dx = (direct - direct.mean(0) - xhat * (direct * xhat).mean(0)) * rstd
    return layer_norm_with_dx(dx, dout, cache)


def layer_norm_dgamma_of_dout_alone(dout, cache):
    dx, _, dbias = reference.layer_norm_backward(dout, cache)
    return dx, dbias.copy(), dbias


def layer_norm_dgamma_averaged_over_rows(dout, cache):
    dx, dweight, dbias = reference.layer_norm_backward(dout, cache)
    return dx, dweight / max(1, dout.size // dout.shape[-1]), dbias


# gelu: cache (x, phi, approximate); gelu_tanh_* for the tanh form, gelu_exact_* for the exact one


def gelu_tanh_slope_is_phi_alone(dout, cache):
    return dout * cache[1]


def gelu_tanh_inner_derivative_missing(dout, cache):
    x, phi, _ = cache
    return dout * (phi + x * 2 * phi * (1 - phi))


def gelu_tanh_cubic_without_its_factor_3(dout, cache):
    x, phi, _ = cache
    du = math.sqrt(2 / math.pi) * (1 + 0.044715 * x * x)
    return dout * (phi + x * 2 * phi * (1 - phi) * du)


def gelu_tanh_derivative_of_tanh_off_by_2(dout, cache):
    x, phi, _ = cache
    du = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)
    return dout * (phi + x * phi * (1 - phi) * du)


def gelu_tanh_slope_of_the_exact_form(dout, cache):
    x, _, _ = cache
    return dout * (reference.normal_cdf(x) + x * np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi))


def gelu_tanh_dout_forgotten(dout, cache):
    return reference.gelu_backward(np.ones_like(dout), cache)


def gelu_exact_slope_is_phi_alone(dout, cache):
    return dout * cache[1]


def gelu_exact_density_not_normalised(dout, cache):
    x, phi, _ = cache
    return dout * (phi + x * np.exp(-0.5 * x * x))


def gelu_exact_density_without_the_half(dout, cache):
    x, phi, _ = cache
    return dout * (phi + x * np.exp(-x * x) / math.sqrt(2 * math.pi))


def gelu_exact_slope_of_the_tanh_form(dout, cache):
    _, tanh_cache = reference.gelu_forward(cache[0], "tanh")
    return reference.gelu_backward(dout, tanh_cache)


def gelu_exact_x_missing_before_the_density(dout, cache):
    x, phi, _ = cache
    return dout * (phi + np.exp(-0.5 * x * x) / math.sqrt(2 * math.pi))


def gelu_exact_slope_of_relu(dout, cache):
    return dout * (cache[0] > 0)


# rms_norm: cache (xhat, rstd, weight)


def rms_norm_with_dx(dx, dout, cache):
    return dx, reference.rms_norm_backward(dout, cache)[1]


def rms_norm_square_term_missing(dout, cache):
    _, rstd, weight = cache
    return rms_norm_with_dx(dout * weight * rstd, dout, cache)


def rms_norm_square_term_with_the_wrong_sign(dout, cache):
    xhat, rstd, weight = cache
    dxhat = dout * weight
    return rms_norm_with_dx((dxhat + xhat * (dxhat * xhat).mean(-1, keepdims=True)) * rstd, dout, cache)


def rms_norm_sum_for_mean(dout, cache):
    xhat, rstd, weight = cache
    dxhat = dout * weight
    return rms_norm_with_dx((dxhat - xhat * (dxhat * xhat).sum(-1, keepdims=True)) * rstd, dout, cache)


def rms_norm_centred_like_layer_norm(dout, cache):
    return reference.layer_norm_backward(dout, cache)[:2]


def rms_norm_rstd_missing(dout, cache):
    dx, dweight = reference.rms_norm_backward(dout, cache)
    return dx / cache[1], dweight


def rms_norm_weight_missing_on_the_way_back(dout, cache):
    xhat, rstd, weight = cache
    return rms_norm_with_dx(reference.rms_norm_backward(dout, (xhat, rstd, np.ones_like(weight)))[0], dout, cache)


def rms_norm_dweight_of_the_first_row(dout, cache):
    dx, _ = reference.rms_norm_backward(dout, cache)
    C = dout.shape[-1]
    return dx, (dout * cache[0]).reshape(-1, C)[0].copy()


# relu: cache (positive,)


def relu_is_the_identity(dout, cache):
    return dout.copy()


def relu_mask_inverted(dout, cache):
    return dout * ~cache[0]


def relu_mask_of_dout(dout, cache):
    return dout * (dout > 0)


def relu_dout_forgotten(dout, cache):
    return cache[0].astype(dout.dtype)


def relu_leaks(dout, cache):
    return dout * np.where(cache[0], 1, 0.01)


# tanh: cache (slope,)


def tanh_slope_forgotten(dout, cache):
    return dout.copy()


def tanh_slope_of_sigmoid(dout, cache):
    out = np.sqrt(1 - cache[0])  # up to its sign
    return dout * out * (1 - out)


def tanh_not_squared(dout, cache):
    return dout * (1 - np.sqrt(1 - cache[0]))


def tanh_slope_twice(dout, cache):
    return dout * cache[0] * cache[0]


def tanh_dout_forgotten(dout, cache):
    return cache[0].copy()


# silu: cache (x, gate)


def silu_gate_alone(dout, cache):
    return dout * cache[1]


def silu_slope_of_sigmoid_alone(dout, cache):
    x, gate = cache
    return dout * x * gate * (1 - gate)


def silu_x_missing(dout, cache):
    _, gate = cache
    return dout * gate * (2 - gate)


def silu_one_minus_forgotten(dout, cache):
    x, gate = cache
    return dout * (gate + x * gate * gate)


def silu_slope_of_relu(dout, cache):
    return dout * (cache[0] > 0)


# glu: cache (hidden, up, activation, the activation's cache)


def glu_gradients_swapped(dout, cache):
    dgate, dup = reference.glu_backward(dout, cache)
    return dup, dgate


def glu_up_missing(dout, cache):
    hidden, up, activation, inner = cache
    return reference.glu_backward(dout, (hidden, np.ones_like(up), activation, inner))


def glu_dup_of_the_gate_before_the_activation(dout, cache):
    dgate, _ = reference.glu_backward(dout, cache)
    inner = cache[3]
    return dgate, dout * inner[0]


def glu_slope_missing(dout, cache):
    hidden, up, _, _ = cache
    return dout * up, dout * hidden


def glu_hidden_for_its_slope(dout, cache):
    hidden, up, _, _ = cache
    return dout * up * hidden, dout * hidden


# rotary: cache (cos, sin, interleaved)


def rotary_turned_forward_again(dout, cache):
    return reference.turned(dout, *cache)


def rotary_is_the_identity(dout, cache):
    return dout.copy()


def rotary_cosine_alone(dout, cache):
    cos, sin, interleaved = cache
    return reference.turned(dout, cos, 0 * sin, interleaved)


def rotary_other_layout_on_the_way_back(dout, cache):
    cos, sin, interleaved = cache
    return reference.turned(dout, cos, -sin, not interleaved)


def rotary_columns_that_pass_are_lost(dout, cache):
    dx = reference.rotary_backward(dout, cache)
    dx[..., : dx.shape[-1] - 2 * cache[0].shape[-1]] = 0
    return dx


def rotary_start_ignored(dout, cache):
    cos, sin, interleaved = cache
    back = cos * cos[:1] + sin * sin[:1], sin * cos[:1] - cos * sin[:1]  # angles counted from the first one
    return reference.turned(dout, back[0], -back[1], interleaved)


# position_bias: cache (buckets, table_shape)


def position_bias_last_pair_wins(dout, cache):
    buckets, shape = cache
    dtable = np.zeros(shape)
    dtable[buckets] = dout[0].transpose(1, 2, 0)
    return dtable


def position_bias_averaged_over_the_pairs(dout, cache):
    buckets, shape = cache
    uses = np.bincount(buckets.ravel(), minlength=shape[0])
    return reference.position_bias_backward(dout, cache) / np.maximum(uses, 1)[:, None]


def position_bias_distance_the_other_way(dout, cache):
    buckets, shape = cache
    return reference.position_bias_backward(dout[:, :, ::-1, ::-1], (buckets, shape))


def position_bias_of_the_first_query(dout, cache):
    buckets, shape = cache
    return reference.position_bias_backward(dout[:, :, -1:], (buckets[-1:], shape))


def position_bias_heads_summed(dout, cache):
    dtable = reference.position_bias_backward(dout, cache)
    return np.repeat(dtable.mean(1, keepdims=True), dtable.shape[1], 1)


# attention: cache (q, k, v, probs, bias_shape, scale)


def attention_with(dq, dk, dv, dbias, dout, cache):
    """The right gradients with the ones given replaced."""
    right = reference.attention_backward(dout, cache)
    return tuple(r if wrong is None else wrong for wrong, r in zip((dq, dk, dv, dbias), right))


def attention_from_dscores(dscores, dout, cache, scale=None):
    """The right way back from d loss / d scores (B, H, T, S) to q, k and the bias."""
    q, k, _, _, bias_shape, right_scale = cache
    scale = right_scale if scale is None else scale
    dq = np.einsum("bhts,bshd->bthd", dscores, for_each_head(k, q)) * scale
    dk = over_groups(np.einsum("bhts,bthd->bshd", dscores, q) * scale, k)
    return attention_with(dq, dk, None, None if bias_shape is None else sum_to(dscores, bias_shape), dout, cache)


def for_each_head(shared, q):
    """k or v (B, S, G, D) with a copy for each of q's H heads."""
    return np.repeat(shared, q.shape[2] // shared.shape[2], 2)


def over_groups(gradient, shared):
    """A gradient (B, S, H, D) summed over the heads that share k or v (B, S, G, D)."""
    return gradient.reshape(*shared.shape[:3], -1, shared.shape[3]).sum(3)


def attention_dscores(dout, cache):
    """(probs, dprobs, dscores), all (B, H, T, S)."""
    q, _, v, probs, _, _ = cache
    dprobs = np.einsum("bthd,bshd->bhts", dout, for_each_head(v, q))
    return probs, dprobs, probs * (dprobs - (dprobs * probs).sum(-1, keepdims=True))


def attention_scale_missing(dout, cache):
    return attention_from_dscores(attention_dscores(dout, cache)[2], dout, cache, scale=1.0)


def attention_scale_of_the_model_width(dout, cache):
    scale = 1 / math.sqrt(cache[0].shape[-1] * cache[0].shape[-2])
    return attention_from_dscores(attention_dscores(dout, cache)[2], dout, cache, scale)


def attention_softmax_derivative_is_diagonal(dout, cache):
    probs, dprobs, _ = attention_dscores(dout, cache)
    return attention_from_dscores(probs * (1 - probs) * dprobs, dout, cache)


def attention_softmax_sum_missing(dout, cache):
    probs, dprobs, _ = attention_dscores(dout, cache)
    return attention_from_dscores(probs * dprobs, dout, cache)


def attention_softmax_sum_over_queries(dout, cache):
    probs, dprobs, _ = attention_dscores(dout, cache)
    return attention_from_dscores(probs * (dprobs - (dprobs * probs).sum(-2, keepdims=True)), dout, cache)


def attention_mask_ignored_in_backward(dout, cache):
    q, k, v, _, bias_shape, scale = cache
    _, unmasked = reference.attention_forward(q, k, v, causal=False)
    return reference.attention_backward(dout, (*unmasked[:4], bias_shape, scale))


def attention_gradients_of_a_row_that_sees_nothing(dout, cache):
    q, k, v, probs, *options = cache
    empty = probs.sum(-1, keepdims=True) == 0
    return reference.attention_backward(dout, (q, k, v, np.where(empty, 1 / probs.shape[-1], probs), *options))


def attention_dv_from_transposed_probs(dout, cache):
    probs = cache[3]
    square = probs.shape[2] == probs.shape[3]
    dv = over_groups(np.einsum("bhst,bthd->bshd", probs, dout), cache[2]) if square else None
    return attention_with(None, None, dv, None, dout, cache)


def attention_dq_and_dk_swapped(dout, cache):
    dq, dk, dv, dbias = reference.attention_backward(dout, cache)
    return (dk, dq, dv, dbias) if dq.shape == dk.shape else (dq, dk, dv, dbias)


def attention_dbias_not_summed_over_the_batch(dout, cache):
    bias_shape = cache[4]
    if bias_shape is None or (len(bias_shape) == 4 and bias_shape[0] != 1):
        return reference.attention_backward(dout, cache)
    dscores = attention_dscores(dout, cache)[2]
    return attention_with(None, None, None, sum_to(dscores[:1], bias_shape), dout, cache)


def attention_dbias_with_the_scale(dout, cache):
    dq, dk, dv, dbias = reference.attention_backward(dout, cache)
    return dq, dk, dv, None if dbias is None else dbias / math.sqrt(dq.shape[-1])


def attention_scale_option_ignored(dout, cache):
    scale = 1 / math.sqrt(cache[0].shape[-1])
    return attention_from_dscores(attention_dscores(dout, cache)[2], dout, cache, scale)


def attention_shared_keys_of_one_head(dout, cache):
    q, k, _, _, _, scale = cache
    dk = np.einsum("bhts,bthd->bshd", attention_dscores(dout, cache)[2], q) * scale
    return attention_with(None, dk[:, :, :: q.shape[2] // k.shape[2]], None, None, dout, cache)


def attention_shared_values_averaged(dout, cache):
    q, _, v, _, _, _ = cache
    dv = reference.attention_backward(dout, cache)[2]
    return attention_with(None, None, dv * v.shape[2] / q.shape[2], None, dout, cache)


def attention_groups_of_every_other_head(dout, cache):
    _, _, v, probs, _, _ = cache
    B, S, G, D = v.shape
    dv = np.einsum("bhts,bthd->bshd", probs, dout).reshape(B, S, -1, G, D).sum(2)
    return attention_with(None, None, dv, None, dout, cache)


def attention_heads_mixed_up(dout, cache):
    B, T, H, D = dout.shape
    return reference.attention_backward(dout.reshape(B, T, D, H).swapaxes(2, 3), cache)


# dropout: cache (keep, scale)


def dropout_scale_missing(dout, cache):
    return dout * cache[0]


def dropout_scale_twice(dout, cache):
    keep, scale = cache
    return dout * keep * scale * scale


def dropout_mask_missing(dout, cache):
    return dout * cache[1]


def dropout_is_the_identity(dout, cache):
    return dout.copy()


def dropout_draws_another_mask(dout, cache):
    keep, scale = cache
    return dout * np.roll(keep, 1) * scale


def dropout_mask_inverted(dout, cache):
    keep, scale = cache
    return dout * ~keep * scale


def dropout_divides_by_the_scale(dout, cache):
    keep, scale = cache
    return dout * keep / scale


# residual_dropout: cache (keep, scale)


def residual_dropout_past_the_branch_forgotten(dout, cache):
    return np.zeros_like(dout), reference.dropout_backward(dout, cache)


def residual_dropout_past_the_branch_dropped_too(dout, cache):
    dbranch = reference.dropout_backward(dout, cache)
    return dbranch, dbranch.copy()


def residual_dropout_both_ways_undropped(dout, cache):
    return dout.copy(), dout.copy()


def residual_dropout_ways_swapped(dout, cache):
    dx, dbranch = reference.residual_dropout_backward(dout, cache)
    return dbranch, dx


def residual_dropout_x_takes_both_gradients(dout, cache):
    dbranch = reference.dropout_backward(dout, cache)
    return dout + dbranch, dbranch


def residual_dropout_gradient_halved_between_the_ways(dout, cache):
    return dout / 2, reference.dropout_backward(dout / 2, cache)


# cross_entropy: cache (x, weight, targets, token_weights, log_total, bias)


def cross_entropy_from_dlogits(dlogits, cache):
    x, weight, *_, bias = cache
    return (dlogits @ weight, dlogits.T @ x, *([] if bias is None else [dlogits.sum(0)]))


def cross_entropy_parts(cache):
    """softmax (N, V), onehot (N, V), token weights (N, 1)."""
    x, weight, targets, token_weights, log_total, bias = cache
    logits = reference.head_logits(x, weight, bias)
    return np.exp(logits - log_total[:, None]), np.eye(len(weight))[targets], token_weights[:, None]


def cross_entropy_token_weights_forgotten(dout, cache):
    probs, onehot, _ = cross_entropy_parts(cache)
    return cross_entropy_from_dlogits(dout * (probs - onehot), cache)


def cross_entropy_token_weights_on_the_target_only(dout, cache):
    probs, onehot, w = cross_entropy_parts(cache)
    return cross_entropy_from_dlogits(dout * (probs - w * onehot), cache)


def cross_entropy_mean_over_rows(dout, cache):
    probs, onehot, w = cross_entropy_parts(cache)
    return cross_entropy_from_dlogits(dout * w * (probs - onehot) / len(probs), cache)


def cross_entropy_target_not_subtracted(dout, cache):
    probs, _, w = cross_entropy_parts(cache)
    return cross_entropy_from_dlogits(dout * w * probs, cache)


def cross_entropy_ignored_rows_pull_on_token_0(dout, cache):
    probs, onehot, w = cross_entropy_parts(cache)
    return cross_entropy_from_dlogits(dout * np.where(w == 0, 1, w) * (probs - onehot), cache)


def cross_entropy_dloss_forgotten(dout, cache):
    return reference.cross_entropy_backward(1.0, cache)


def cross_entropy_sign_flipped(dout, cache):
    return reference.cross_entropy_backward(-dout, cache)


def cross_entropy_shifted_targets(dout, cache):
    x, weight, targets, *rest = cache
    return reference.cross_entropy_backward(dout, (x, weight, (targets + 1) % len(weight), *rest))


def cross_entropy_last_chunk_of_dweight_wins(dout, cache):
    x, weight, targets, token_weights, log_total, bias = cache
    dx, dweight, *dbias = reference.cross_entropy_backward(dout, cache)
    last = slice(-1, None)
    if len(x) > 1:
        last_rows = (x[last], weight, targets[last], token_weights[last], log_total[last], bias)
        dweight = reference.cross_entropy_backward(dout, last_rows)[1]
    return dx, dweight, *dbias


def cross_entropy_bias_forgotten_in_the_logits(dout, cache):
    *rest, bias = cache
    return reference.cross_entropy_backward(dout, (*rest, None if bias is None else 0 * bias))


def cross_entropy_dbias_not_weighted(dout, cache):
    dx, dweight, *dbias = reference.cross_entropy_backward(dout, cache)
    probs, onehot, _ = cross_entropy_parts(cache)
    return dx, dweight, *[dout * (probs - onehot).sum(0) for _ in dbias]


# softmax_cross_entropy: cache (probs, targets, row_weights)


def softmax_cross_entropy_target_not_subtracted(dout, cache):
    probs, _, row_weights = cache
    return probs * (dout * row_weights)[:, None]


def softmax_cross_entropy_weights_forgotten(dout, cache):
    probs, targets, row_weights = cache
    return reference.softmax_cross_entropy_backward(dout, (probs, targets, (row_weights != 0) * 1.0))


def softmax_cross_entropy_mean_over_rows(dout, cache):
    return reference.softmax_cross_entropy_backward(dout / len(cache[0]), cache)


def softmax_cross_entropy_dloss_forgotten(dout, cache):
    return reference.softmax_cross_entropy_backward(1.0, cache)


def softmax_cross_entropy_every_target_in_every_row(dout, cache):
    probs, targets, row_weights = cache
    dlogits = probs.copy()
    dlogits[:, targets] -= 1
    return dlogits * (dout * row_weights)[:, None]


def softmax_cross_entropy_diagonal_jacobian(dout, cache):
    probs, targets, row_weights = cache
    onehot = np.eye(probs.shape[1])[targets]
    return (probs - 1) * onehot * (dout * row_weights)[:, None]


# binary_cross_entropy: cache (errors, row_weights)


def binary_cross_entropy_weights_forgotten(dout, cache):
    return cache[0] * dout


def binary_cross_entropy_mean_over_labels(dout, cache):
    return reference.binary_cross_entropy_backward(dout, cache) / (cache[0].shape[1] + 1)


def binary_cross_entropy_sign_flipped(dout, cache):
    return reference.binary_cross_entropy_backward(-dout, cache)


def binary_cross_entropy_dloss_forgotten(dout, cache):
    return reference.binary_cross_entropy_backward(1.0, cache)


def binary_cross_entropy_slope_of_the_sigmoid_too(dout, cache):
    errors, row_weights = cache
    probs = errors - np.floor(errors)  # errors are probability - target; targets are 0 and 1
    return reference.binary_cross_entropy_backward(dout, (errors * probs * (1 - probs), row_weights))


# squared_error: cache (errors, row_weights)


def squared_error_factor_2_missing(dout, cache):
    return reference.squared_error_backward(dout, cache) / 2


def squared_error_sign_flipped(dout, cache):
    return reference.squared_error_backward(-dout, cache)


def squared_error_weights_forgotten(dout, cache):
    return 2 * dout * cache[0]


def squared_error_slope_of_the_absolute_error(dout, cache):
    errors, row_weights = cache
    return np.sign(errors) * (dout * row_weights)[:, None]


def squared_error_mean_over_rows(dout, cache):
    return reference.squared_error_backward(dout, cache) / len(cache[0])


# dot: cache (x, y)


def dot_dx_of_the_first_candidate(dout, cache):
    _, dy = reference.dot_backward(dout, cache)
    return dout[:, :1] * cache[1][:, 0], dy


def dot_dx_averaged_over_the_candidates(dout, cache):
    dx, dy = reference.dot_backward(dout, cache)
    return dx / dout.shape[1], dy


def dot_dy_of_summed_dout(dout, cache):
    x, y = cache
    dy = dout.sum(1)[:, None, None] * np.broadcast_to(x[:, None], y.shape)
    return reference.dot_backward(dout, cache)[0], dy


def dot_y_in_its_own_gradient(dout, cache):
    return reference.dot_backward(dout, cache)[0], dout[:, :, None] * cache[1]


def dot_dout_forgotten(dout, cache):
    return reference.dot_backward(np.ones_like(dout), cache)


# softmax: cache (probs,)


def softmax_jacobian_is_diagonal(dout, cache):
    return cache[0] * (1 - cache[0]) * dout


def softmax_sum_missing(dout, cache):
    return cache[0] * dout


def softmax_sum_over_the_rows(dout, cache):
    return cache[0] * (dout - (dout * cache[0]).sum(0))


def softmax_outer_probs_missing(dout, cache):
    return dout - (dout * cache[0]).sum(-1, keepdims=True)


def softmax_inner_probs_missing(dout, cache):
    return cache[0] * (dout - dout.sum(-1, keepdims=True))


def softmax_mean_for_the_sum(dout, cache):
    return cache[0] * (dout - (dout * cache[0]).mean(-1, keepdims=True))


# sigmoid: cache (slope,)


def sigmoid_is_the_identity(dout, cache):
    return dout.copy()


def sigmoid_dout_forgotten(dout, cache):
    return cache[0].copy()


def sigmoid_slope_of_tanh(dout, cache):
    return dout * 4 * cache[0]


def sigmoid_slope_squared(dout, cache):
    return dout * cache[0] ** 2


def sigmoid_sign_flipped(dout, cache):
    return -dout * cache[0]


def sigmoid_slope_without_one_minus(dout, cache):
    return dout * (0.5 + np.sqrt(0.25 - cache[0]))


# gate: cache (picked, total, scale, chosen, shape)


def gate_scattered(dpicked, cache):
    dscores = np.zeros(cache[4])
    np.put_along_axis(dscores, cache[3], dpicked, 1)
    return dscores


def gate_total_taken_as_a_constant(dout, cache):
    _, total, scale, _, _ = cache
    return gate_scattered(scale * dout / (1 if total is None else total), cache)


def gate_scale_missing(dout, cache):
    picked, total, _, chosen, shape = cache
    return reference.gate_backward(dout, (picked, total, 1.0, chosen, shape))


def gate_normalised_on_the_way_back_alone(dout, cache):
    picked, _, scale, chosen, shape = cache
    return reference.gate_backward(dout, (picked, picked.sum(-1, keepdims=True), scale, chosen, shape))


def gate_divided_by_the_total_once(dout, cache):
    total = 1 if cache[1] is None else cache[1]
    return reference.gate_backward(dout, cache) * total


def gate_gradient_for_experts_not_chosen(dout, cache):
    picked, _, scale, _, shape = cache
    return np.repeat((scale * dout * picked).sum(-1, keepdims=True) / shape[1], shape[1], 1)


def gate_gradient_at_the_wrong_expert(dout, cache):
    return np.roll(reference.gate_backward(dout, cache), 1, -1)


def gate_choices_sorted_by_number(dout, cache):
    picked, total, scale, chosen, shape = cache
    return reference.gate_backward(dout, (picked, total, scale, np.sort(chosen, -1), shape))


def gate_first_choice_alone(dout, cache):
    return gate_scattered(np.where(np.arange(dout.shape[1]) == 0, dout, 0), cache)


# load_balance: cache (f, token_weights)


def load_balance_token_weights_missing(dout, cache):
    f, token_weights = cache
    return reference.load_balance_backward(dout, (f, np.ones_like(token_weights)))


def load_balance_token_weights_normalised(dout, cache):
    f, token_weights = cache
    total = token_weights.sum(1, keepdims=True)
    return reference.load_balance_backward(dout, (f, token_weights / np.where(total == 0, 1, total)))


def load_balance_number_of_experts_missing(dout, cache):
    return reference.load_balance_backward(dout / cache[0].shape[1], cache)


def load_balance_choices_of_the_whole_batch(dout, cache):
    f, token_weights = cache
    return reference.load_balance_backward(dout, (np.broadcast_to(f.mean(0), f.shape), token_weights))


def load_balance_share_for_the_number_of_choices(dout, cache):
    f, token_weights = cache
    total = f.sum(1, keepdims=True)
    return reference.load_balance_backward(dout, (f / np.where(total == 0, 1, total), token_weights))


def load_balance_dloss_forgotten(dout, cache):
    return reference.load_balance_backward(1.0, cache)


def load_balance_all_experts_alike(dout, cache):
    f, token_weights = cache
    return reference.load_balance_backward(dout, (np.broadcast_to(f.mean(1, keepdims=True), f.shape), token_weights))


# dispatch: cache (place,)


def dispatch_first_copy_alone(dout, cache):
    return dout[cache[0][:, 0]]


def dispatch_mean_of_the_copies(dout, cache):
    return dout[cache[0]].mean(1)


def dispatch_rows_left_in_the_experts_order(dout, cache):
    return dout.reshape(*cache[0].shape, -1).sum(1)


def dispatch_order_for_place(dout, cache):
    (place,) = cache
    return dout[np.argsort(place.ravel()).reshape(place.shape)].sum(1)


def dispatch_copies_of_other_tokens(dout, cache):
    return np.roll(dout[cache[0]].sum(1), 1, 0)


def dispatch_last_copy_wins(dout, cache):
    return dout[cache[0].max(1)]


# grouped_linear: cache (x, weight, edges)


def grouped_linear_with_dweight(dweight, dout, cache):
    return reference.grouped_linear_backward(dout, cache)[0], dweight


def grouped_linear_dweight_of_all_rows(dout, cache):
    x, weight, _ = cache
    return grouped_linear_with_dweight(np.broadcast_to(dout.T @ x, weight.shape).copy(), dout, cache)


def grouped_linear_dweight_is_a_mean(dout, cache):
    rows = np.maximum(np.diff(cache[2]), 1)[:, None, None]
    return grouped_linear_with_dweight(reference.grouped_linear_backward(dout, cache)[1] / rows, dout, cache)


def grouped_linear_dweight_of_the_next_expert(dout, cache):
    return grouped_linear_with_dweight(np.roll(reference.grouped_linear_backward(dout, cache)[1], 1, 0), dout, cache)


def grouped_linear_dweight_without_each_last_row(dout, cache):
    x, weight, edges = cache
    dweight = np.zeros_like(weight)
    for e, (start, stop) in enumerate(itertools.pairwise(edges)):
        dweight[e] = dout[start : stop - 1].T @ x[start : stop - 1]
    return grouped_linear_with_dweight(dweight, dout, cache)


def grouped_linear_dx_through_the_first_expert(dout, cache):
    return dout @ cache[1][0], reference.grouped_linear_backward(dout, cache)[1]


def grouped_linear_dx_through_the_mean_expert(dout, cache):
    return dout @ cache[1].mean(0), reference.grouped_linear_backward(dout, cache)[1]


# combine: cache (y, weights, order, place)


def combine_weights_missing_in_dy(dout, cache):
    _, _, order, place = cache
    return dout[order // place.shape[1]], reference.combine_backward(dout, cache)[1]


def combine_weights_left_in_the_tokens_order(dout, cache):
    _, weights, order, place = cache
    return dout[order // place.shape[1]] * weights.reshape(-1, 1), reference.combine_backward(dout, cache)[1]


def combine_dout_left_in_the_tokens_order(dout, cache):
    _, weights, order, place = cache
    dy = np.repeat(dout, place.shape[1], 0) * weights.ravel()[order][:, None]
    return dy, reference.combine_backward(dout, cache)[1]


def combine_dweights_from_rows_in_the_experts_order(dout, cache):
    y, weights, _, _ = cache
    dweights = (y.reshape(*weights.shape, -1) * dout[:, None, :]).sum(-1)
    return reference.combine_backward(dout, cache)[0], dweights


def combine_dweights_forgotten(dout, cache):
    dy, dweights = reference.combine_backward(dout, cache)
    return dy, 0 * dweights


def combine_dweights_times_the_weights(dout, cache):
    dy, dweights = reference.combine_backward(dout, cache)
    return dy, dweights * cache[1]


def combine_dy_is_a_mean(dout, cache):
    dy, dweights = reference.combine_backward(dout, cache)
    return dy / (cache[1].shape[1] + 1), dweights


def functions():
    """The wrong backwards of this page, in order; the builders among them take no `dout, cache`."""
    own = [f for f in globals().values() if callable(f) and hasattr(f, "__code__")]
    return [f for f in own if f.__code__.co_varnames[: f.__code__.co_argcount] == ("dout", "cache")]


def op_of(function):
    """The op that a function's name starts with: the longest one, as the name of one op may begin another's."""
    return max((op for op in OPS if function.__name__.startswith(op.replace(" ", "_") + "_")), key=len, default=None)


PARTS = (layer_norm_terms, attention_dscores)  # pieces of right answers
OPS = (
    "linear",
    "embedding",
    "layer_norm",
    "rms_norm",
    "relu",
    "tanh",
    "silu",
    "glu",
    "rotary",
    "position_bias",
    "gelu tanh",
    "gelu exact",
    "attention",
    "dropout",
    "residual_dropout",
    "softmax_cross_entropy",
    "binary_cross_entropy",
    "squared_error",
    "dot",
    "cross_entropy",
    "softmax",
    "sigmoid",
    "gate",
    "load_balance",
    "dispatch",
    "grouped_linear",
    "combine",
)
WRONG = {op: [f for f in functions() if op_of(f) == op and f not in PARTS] for op in OPS}


# adamw_step


def adamw_l2_decay_in_the_gradient(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    grad = grad * grad_scale + weight_decay * param
    reference.adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, 0.0)


def adamw_no_bias_correction(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    # at t = 10^6 the corrections are 1
    reference.adamw_step(param, grad, m, v, 10**6, lr, beta1, beta2, eps, weight_decay, grad_scale)


def adamw_counts_from_zero(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    reference.adamw_step(param, grad, m, v, t + 1, lr, beta1, beta2, eps, weight_decay, grad_scale)


def adamw_eps_inside_the_root(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    reference.adamw_step(param.copy(), grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale)
    mhat, vhat = m / (1 - beta1**t), v / (1 - beta2**t)
    param *= 1 - lr * weight_decay
    param -= lr * mhat / np.sqrt(vhat + eps)


def adamw_betas_swapped(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    reference.adamw_step(param, grad, m, v, t, lr, beta2, beta1, eps, weight_decay, grad_scale)


def adamw_decay_not_scaled_by_lr(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    reference.adamw_step(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay / max(lr, 1e-12), grad_scale)


def adamw_unclipped_second_moment(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    v *= beta2
    v += (1 - beta2) * grad * grad
    m *= beta1
    m += (1 - beta1) * grad * grad_scale
    param *= 1 - lr * weight_decay
    param -= lr * (m / (1 - beta1**t)) / (np.sqrt(v / (1 - beta2**t)) + eps)


def adamw_momentum_without_one_minus_beta(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    reference.adamw_step(param, grad / (1 - beta1), m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale)
    v *= (1 - beta1) ** 2


def adamw_sign_flipped(param, grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale=1.0):
    reference.adamw_step(param, -grad, m, v, t, lr, beta1, beta2, eps, weight_decay, grad_scale)


WRONG_ADAMW = [f for name, f in globals().items() if name.startswith("adamw_")]
