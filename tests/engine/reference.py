"""The published algorithms, plainly: k-diffusion's samplers and the papers behind them, in float64 and in their authors' variables. The oracle.

Each takes a denoiser D(x, sigma), latents at the first sigma, the sigmas, and where it draws noise, noise(sigma, target); it returns the last x.
"""

import math
from itertools import pairwise

import torch
from scipy import integrate


def to_d(x, sigma, denoised):
    return (x - denoised) / sigma


def ancestral_step(sigma_from, sigma_to, eta=1.0):
    sigma_up = min(sigma_to, eta * math.sqrt(sigma_to**2 * (sigma_from**2 - sigma_to**2) / sigma_from**2))
    return math.sqrt(max(sigma_to**2 - sigma_up**2, 0)), sigma_up


def t_of(sigma):
    return -math.log(sigma) if sigma > 0 else math.inf


def euler(D, x, sigmas, noise):
    for i in range(len(sigmas) - 1):
        d = to_d(x, sigmas[i], D(x, sigmas[i]))
        x = x + d * (sigmas[i + 1] - sigmas[i])
    return x


def euler_a(D, x, sigmas, noise):
    for i in range(len(sigmas) - 1):
        d = to_d(x, sigmas[i], D(x, sigmas[i]))
        down, up = ancestral_step(sigmas[i], sigmas[i + 1])
        x = x + d * (down - sigmas[i])
        if sigmas[i + 1] > 0:
            x = x + noise(sigmas[i], sigmas[i + 1]) * up
    return x


def heun_step(D, x, old, new):
    d = to_d(x, old, D(x, old))
    euler_x = x + d * (new - old)
    if new == 0:
        return euler_x
    d_2 = to_d(euler_x, new, D(euler_x, new))
    return x + (d + d_2) / 2 * (new - old)


def heun(D, x, sigmas, noise):
    for i in range(len(sigmas) - 1):
        x = heun_step(D, x, sigmas[i], sigmas[i + 1])
    return x


def dpm2(D, x, sigmas, noise):
    for i in range(len(sigmas) - 1):
        d = to_d(x, sigmas[i], D(x, sigmas[i]))
        if sigmas[i + 1] == 0:
            x = x + d * (sigmas[i + 1] - sigmas[i])
            continue
        mid = math.exp((math.log(sigmas[i]) + math.log(sigmas[i + 1])) / 2)
        x_2 = x + d * (mid - sigmas[i])
        x = x + to_d(x_2, mid, D(x_2, mid)) * (sigmas[i + 1] - sigmas[i])
    return x


def dpm2_a(D, x, sigmas, noise):
    for i in range(len(sigmas) - 1):
        d = to_d(x, sigmas[i], D(x, sigmas[i]))
        down, up = ancestral_step(sigmas[i], sigmas[i + 1])
        if down == 0:
            x = x + d * (down - sigmas[i])
            continue
        mid = math.exp((math.log(sigmas[i]) + math.log(down)) / 2)
        x_2 = x + d * (mid - sigmas[i])
        x = x + to_d(x_2, mid, D(x_2, mid)) * (down - sigmas[i]) + noise(sigmas[i], sigmas[i + 1]) * up
    return x


def dpmpp_2s_a(D, x, sigmas, noise):
    for i in range(len(sigmas) - 1):
        denoised = D(x, sigmas[i])
        down, up = ancestral_step(sigmas[i], sigmas[i + 1])
        if down == 0:
            x = x + to_d(x, sigmas[i], denoised) * (down - sigmas[i])
        else:
            t, t_next = t_of(sigmas[i]), t_of(down)
            h = t_next - t
            s = t + h / 2
            x_2 = math.exp(-s) / math.exp(-t) * x - math.expm1(-h / 2) * denoised
            x = math.exp(-t_next) / math.exp(-t) * x - math.expm1(-h) * D(x_2, math.exp(-s))
        if sigmas[i + 1] > 0:
            x = x + noise(sigmas[i], sigmas[i + 1]) * up
    return x


def dpmpp_2m(D, x, sigmas, noise):
    old = None
    for i in range(len(sigmas) - 1):
        denoised = D(x, sigmas[i])
        t, t_next = t_of(sigmas[i]), t_of(sigmas[i + 1])
        h = t_next - t
        if old is None or sigmas[i + 1] == 0:
            d = denoised
        else:
            r = (t - t_of(sigmas[i - 1])) / h
            d = (1 + 1 / (2 * r)) * denoised - 1 / (2 * r) * old
        x = sigmas[i + 1] / sigmas[i] * x - math.expm1(-h) * d
        old = denoised
    return x


def dpmpp_sde(D, x, sigmas, noise):
    for i in range(len(sigmas) - 1):
        denoised = D(x, sigmas[i])
        if sigmas[i + 1] == 0:
            x = x + to_d(x, sigmas[i], denoised) * (0 - sigmas[i])
            continue
        t, t_next = t_of(sigmas[i]), t_of(sigmas[i + 1])
        s = t + (t_next - t) / 2
        down, up = ancestral_step(math.exp(-t), math.exp(-s))
        x_2 = down / sigmas[i] * x - math.expm1(t - t_of(down)) * denoised + noise(sigmas[i], math.exp(-s)) * up
        denoised_2 = D(x_2, math.exp(-s))
        down, up = ancestral_step(math.exp(-t), math.exp(-t_next))
        x = down / sigmas[i] * x - math.expm1(t - t_of(down)) * denoised_2 + noise(sigmas[i], sigmas[i + 1]) * up
    return x


def dpmpp_2m_sde(D, x, sigmas, noise, solver_type="midpoint"):
    old = h_last = None
    for i in range(len(sigmas) - 1):
        denoised = D(x, sigmas[i])
        if sigmas[i + 1] == 0:
            return denoised
        h = t_of(sigmas[i + 1]) - t_of(sigmas[i])
        eta_h = h
        x = sigmas[i + 1] / sigmas[i] * math.exp(-eta_h) * x - math.expm1(-h - eta_h) * denoised
        if old is not None:
            r = h_last / h
            if solver_type == "heun":
                x = x + (-math.expm1(-h - eta_h) / (-h - eta_h) + 1) * (1 / r) * (denoised - old)
            else:
                x = x + 0.5 * -math.expm1(-h - eta_h) * (1 / r) * (denoised - old)
        x = x + noise(sigmas[i], sigmas[i + 1]) * sigmas[i + 1] * math.sqrt(-math.expm1(-2 * eta_h))
        old, h_last = denoised, h
    return x


def dpmpp_2m_sde_heun(D, x, sigmas, noise):
    return dpmpp_2m_sde(D, x, sigmas, noise, "heun")


def dpmpp_3m_sde(D, x, sigmas, noise):
    denoised_1 = denoised_2 = h_1 = h_2 = None
    for i in range(len(sigmas) - 1):
        denoised = D(x, sigmas[i])
        if sigmas[i + 1] == 0:
            return denoised
        h = t_of(sigmas[i + 1]) - t_of(sigmas[i])
        h_eta = 2 * h
        x = math.exp(-h_eta) * x - math.expm1(-h_eta) * denoised
        phi_2 = math.expm1(-h_eta) / h_eta + 1
        phi_3 = phi_2 / h_eta - 0.5
        if h_2 is not None:
            r0, r1 = h_1 / h, h_2 / h
            d1_0, d1_1 = (denoised - denoised_1) / r0, (denoised_1 - denoised_2) / r1
            d1 = d1_0 + (d1_0 - d1_1) * r0 / (r0 + r1)
            d2 = (d1_0 - d1_1) / (r0 + r1)
            x = x + phi_2 * d1 - phi_3 * d2
        elif h_1 is not None:
            x = x + phi_2 * (denoised - denoised_1) / (h_1 / h)
        x = x + noise(sigmas[i], sigmas[i + 1]) * sigmas[i + 1] * math.sqrt(-math.expm1(-2 * h))
        denoised_1, denoised_2, h_1, h_2 = denoised, denoised_1, h, h_1
    return x


def lms(D, x, sigmas, noise, order=4):
    def coefficient(order, i, j):
        def basis(tau):
            return math.prod((tau - sigmas[i - k]) / (sigmas[i - j] - sigmas[i - k]) for k in range(order) if k != j)

        return integrate.quad(basis, sigmas[i], sigmas[i + 1], epsrel=1e-4)[0]

    ds = []
    for i in range(len(sigmas) - 1):
        ds = [*ds, to_d(x, sigmas[i], D(x, sigmas[i]))][-order:]
        now = min(i + 1, order)
        x = x + sum(coefficient(now, i, j) * d for j, d in enumerate(reversed(ds)))
    return x


# ---------------------------------------------------------------- DPM-Solver
def solver_steps(D, x, t, t_next, order, r1, r2=2 / 3):
    """DPM-Solver-1, -2, -3 of Lu et al. 2022, in eps."""

    def eps(x, t):
        return (x - D(x, math.exp(-t))) / math.exp(-t)

    def sigma(t):
        return math.exp(-t)

    h = t_next - t
    e = eps(x, t)
    x_1 = x - sigma(t_next) * math.expm1(h) * e
    if order == 1:
        return x_1
    s1 = t + r1 * h
    e_1 = eps(x - sigma(s1) * math.expm1(r1 * h) * e, s1)
    if order == 2:
        return x_1 - sigma(t_next) / (2 * r1) * math.expm1(h) * (e_1 - e)
    s2 = t + r2 * h
    u2 = x - sigma(s2) * math.expm1(r2 * h) * e - sigma(s2) * (r2 / r1) * (math.expm1(r2 * h) / (r2 * h) - 1) * (e_1 - e)
    return x_1 - sigma(t_next) / r2 * (math.expm1(h) / h - 1) * (eps(u2, s2) - e)


def split_step(t, t_next, t_end):
    down, _ = ancestral_step(math.exp(-t), math.exp(-t_next))
    lower = min(t_end, t_of(down))
    return lower, math.sqrt(max(math.exp(-t_next) ** 2 - math.exp(-lower) ** 2, 0))


def dpm_fast(D, x, sigma_min, sigma_max, n, noise):
    m = n // 3 + 1
    t_start, t_end = t_of(sigma_max), t_of(sigma_min)
    ts = [t_start + (t_end - t_start) * k / m for k in range(m + 1)]
    orders = [3] * (m - 2) + [2, 1] if n % 3 == 0 else [3] * (m - 1) + [n % 3]
    for i, order in enumerate(orders):
        lower, up = split_step(ts[i], ts[i + 1], t_end)
        x = solver_steps(D, x, ts[i], lower, order, r1=1 / 2 if order == 2 else 1 / 3) + up * noise(math.exp(-ts[i]), math.exp(-ts[i + 1]))
    return x


def dpm_adaptive(D, x, sigma_min, sigma_max, noise, rtol=0.05, atol=0.0078, h=0.05, accept_safety=0.81):
    s, t_end = t_of(sigma_max), t_of(sigma_min)
    x_prev = x
    while s < t_end - 1e-5:
        t = min(t_end, s + h)
        lower, up = split_step(s, t, t_end)
        x_low = solver_steps(D, x, s, lower, 2, r1=1 / 3)
        x_high = solver_steps(D, x, s, lower, 3, r1=1 / 3)
        delta = torch.maximum(torch.tensor(atol), rtol * torch.maximum(x_low.abs(), x_prev.abs()))
        error = float(torch.linalg.norm((x_low - x_high) / delta)) / x.numel() ** 0.5
        factor = 1 + math.atan((1 / (error + 1e-8)) ** (1 / 1.5) - 1)
        if factor >= accept_safety:
            x_prev, x, s = x_low, x_high + up * noise(math.exp(-s), math.exp(-t)), t
        h *= factor
    return x


def restart(D, x, sigmas, noise, karras):
    """karras(n, low, high): n sigmas and 0."""
    steps = len(sigmas) - 1
    restarts, times = (steps // 4, 2) if steps >= 36 else (9, 1)
    if steps >= 20:
        sigmas = karras(steps - restarts * times, sigmas[-2], sigmas[0])
    pairs = []
    for i in range(len(sigmas) - 1):
        pairs.append((sigmas[i], sigmas[i + 1]))
        low, high = (min(range(len(sigmas)), key=lambda k: abs(sigmas[k] - level)) for level in (0.1, 2))
        if steps >= 20 and i + 1 == low and high < low:
            again = karras(restarts + 1, sigmas[low], sigmas[high])[:-1]
            pairs += list(pairwise(again)) * times
    last = pairs[0][0]
    for old, new in pairs:
        if last < old - 1e-5:
            x = x + noise(last, old) * math.sqrt(old**2 - last**2)
        x, last = heun_step(D, x, old, new), new
    return x


# ---------------------------------------------------------------- in latents of unit variance, with alphas (CompVis)
def unit(sigma):
    """alpha_bar of a sigma."""
    return 1 / (sigma**2 + 1)


def eps_of(D, x, sigma):
    """The noise in x = sqrt(a) clean + sqrt(1 - a) noise."""
    a = unit(sigma)
    return (x - math.sqrt(a) * D(x / math.sqrt(a), sigma)) / math.sqrt(1 - a)


def ddim_step(x, e, a, a_prev, direction=None):
    pred_x0 = (x - math.sqrt(1 - a) * e) / math.sqrt(a)
    return math.sqrt(a_prev) * pred_x0 + math.sqrt(1 - a_prev) * (e if direction is None else direction)


def ddim(D, x, sigmas, noise):
    for sigma, target in pairwise(sigmas):
        x = ddim_step(x, eps_of(D, x, sigma), unit(sigma), unit(target))
    return x


def ddim_cfgpp(D, uncond, x, sigmas):
    for sigma, target in pairwise(sigmas):
        x = ddim_step(x, eps_of(D, x, sigma), unit(sigma), unit(target), eps_of(uncond, x, sigma))
    return x


def plms(D, x, sigmas, noise):
    old = []
    for sigma, target in pairwise(sigmas):
        e = eps_of(D, x, sigma)
        match old:
            case []:
                e_next = eps_of(D, ddim_step(x, e, unit(sigma), unit(target)), target)
                mean = (e + e_next) / 2
            case [a]:
                mean = (3 * e - a) / 2
            case [a, b]:
                mean = (23 * e - 16 * b + 5 * a) / 12
            case [a, b, c]:
                mean = (55 * e - 59 * c + 37 * b - 9 * a) / 24
        x = ddim_step(x, mean, unit(sigma), unit(target))
        old = [*old, e][-3:]
    return x


def lcm(D, x, sigmas, noise, timestep):
    for i in range(len(sigmas) - 1):
        scaled = timestep(sigmas[i]) * 10
        x = scaled / math.sqrt(scaled**2 + 0.25) * D(x, sigmas[i]) + 0.25 / (scaled**2 + 0.25) * x
        if sigmas[i + 1] > 0:
            x = x + noise(sigmas[i], sigmas[i + 1]) * sigmas[i + 1]
    return x
