"""The stand-ins against autograd: a test of the test."""
import torch

import standins


def main():
    generator = torch.Generator().manual_seed(0)

    def random(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    ids = torch.tensor([[0, 0, 0, 1, 1, 1, 1], [0, 1, 1, 1, 2, 2, 2]], dtype=torch.int32)
    for silu in (False, True):
        for bias in (None, random(3)):
            for seq_idx, states in ((None, None), (ids, None), (None, random(2, 3, 3))):
                x, weight, dout = random(2, 3, 7), random(3, 4), random(2, 3, 7)
                held = [t.clone().requires_grad_() if t is not None else None
                        for t in (x, weight, bias, states)]
                out = standins.conv_formula(held[0], held[1], held[2], seq_idx, held[3], silu)
                present = [t for t in held if t is not None]
                wanted = torch.autograd.grad(out, present, dout)
                found = standins._gradients(x, weight, bias, dout, seq_idx, states, None, silu)
                for a, b in zip([t for t in found if t is not None], wanted):
                    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
    for letter, (count, _, _) in standins.ARITY.items():
        module = standins.make_conv_module(letter)
        for wrong in {4, 5, 7, 8} - {count}:
            try:
                module.causal_conv1d_fwd(*[random(2, 3, 7)] * (wrong - 1), True)
            except TypeError:
                continue
            raise AssertionError(f"contract {letter} took {wrong} arguments")
    print("stand-ins agree with autograd and are strict")


if __name__ == "__main__":
    main()
