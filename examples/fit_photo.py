from pipeline.fit import fit_photo

result = fit_photo("assets/example.png")
print(f"landmarks agree to {result.residual_final:.2f} % of the outer-eye distance ({result.status})")
for name, value in sorted(result.controls.items(), key=lambda item: -item[1])[:5]:
    print(f"{name:18} {value:.2f}")
