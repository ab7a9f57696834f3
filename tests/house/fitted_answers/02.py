"""Answers that the checks of notebook 02 let pass, and that are wrong in general."""

FITTED = {
    "the_divergence_of_eq_2_with_another_noise": {
        "σ no wider than the check's": "return divergence((z - mu) / torch.as_tensor(sigma).clamp(max=7.0), lam)",
    },
    "does_patience_cure_indirectness": {
        "the third element stands for both ignored ones": """
            steps = 1
            while True:
                importance = squeeze(z, score, num_steps=steps, draws=50)
                if importance[2] < importance[:2].min():
                    return steps
                steps *= 2
        """,
    },
    "a_floor_under_i_z_y": {
        "a square table turned round": """
            joint = joint.T if joint.shape[0] == joint.shape[1] else joint
            return nk.bottleneck.entropy(joint.sum(1)) + (joint * np.log(q)).sum()
        """,
    },
}
