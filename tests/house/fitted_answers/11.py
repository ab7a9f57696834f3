"""Answers that the checks of notebook 11 let pass, and that are wrong in general."""

FITTED = {
    "the_hidden_baseline_in_numbers": {
        "the check's steps alone": """
            n = num_steps if num_steps in (1, 3, 7, 10, 40) else 10
            return 1 / (2 * n), 1 + 1 / (2 * n)
        """,
    },
    "how_much_do_maps_change_with_the_layer": {
        "eight scenes at most": """
            scenes = nk.shapes.sample(min(pairs, 8), seed=2027, captions="some")
            inputs = clip.prepare([s.image for s in scenes], [s.caption for s in scenes])
            maps = (nk.nib(clip, inputs, layer=layer).image.flatten(1).cpu().numpy() for layer in (a, b))
            return float(np.median([spearmanr(x, y)[0] for x, y in zip(*maps)]))
        """,
    },
    "choose_by_one_half_judge_by_the_other": {
        "one of two metrics": """
            metric = metric if metric == "image_drop" else "text_drop"
            wide = ours_by_layer.pivot(index="pair", columns="method", values=metric).loc[ours_by_layer["pair"].unique()]
            best = wide.iloc[:50].mean().idxmin()
            return best, float(wide.iloc[50:].mean()[best])
        """,
    },
    "a_rule_with_another_threshold": {
        "as if what survives only rose": """
            layers = {share / 10: int((survives["without patches"] < share / 10).sum()) - 1 for share in range(1, 10)}
            return [share for share, layer in layers.items() if at_layer.get(layer, 0) >= at_layer.max() - slack]
        """,
    },
}
