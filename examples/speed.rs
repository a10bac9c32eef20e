use lbam::{desk::model::Lbam, net::*};
use burn::tensor::*;
use burn::optim::*;
fn main(){
    let device = Device::flex().autodiff();
    let args: Vec<usize> = std::env::args().skip(1).map(|a| a.parse().unwrap()).collect();
    let (size, batch, k) = (args[0], args[1], args[2]);
    let mut model = Lbam::initialise(Network::from(Preset::Small), &device);
    let mut optim = AdamConfig::new().with_beta_1(0.5).with_beta_2(0.9).init();
    let x = Tensor::<4>::random([batch,3,size,size], Distribution::Uniform(0.0,1.0), &device);
    let m = Tensor::<4>::random([k,1,size,size], Distribution::Uniform(0.0,1.0), &device).greater_elem(0.3).float().expand([k,3,size,size]);
    for i in 0..6 {
        let t = std::time::Instant::now();
        let o = model.forward(x.clone(), m.clone());
        let d = (o - x.clone()).abs();
        let loss = (d.clone()*m.clone()).mean() + (d*(m.clone().neg()+1.0)).mean()*6.0;
        let v: f32 = loss.clone().into_scalar();
        let t1 = t.elapsed();
        let g = GradientsParams::from_grads(loss.backward(), &model);
        let t2 = t.elapsed();
        model = optim.step(1e-3, model, g).clamped();
        println!("{i} {v} fwd {:?} bwd {:?} all {:?}", t1, t2-t1, t.elapsed());
    }
}
